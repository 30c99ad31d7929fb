/** Delivery when tiers fail, break off, or are asked by many at once: real R2 binding and Asset object. */
import { expect, test, vi } from "vitest";
import { call, config, env, problemOf, quality, type Seeded, seedProxy } from "../../test/door-worker.ts";
import { openWasabiStub } from "../../test/wasabi-stub-worker.ts";
import { signPlaybackUrl } from "../playback-url.ts";
import type { Env } from "../stores/config.ts";
import { deliveryCounts, recordServed } from "../stores/delivery-count.ts";
import { listAlerts } from "../stores/incident.ts";

async function urlOf(seeded: Seeded) {
  const url = await signPlaybackUrl(config.publicUrl, config.playbackKeys, {
    fileId: seeded.upload.fileId,
    jobId: seeded.jobId,
    quality,
    downloadName: null,
    expiresAtSeconds: Math.floor(Date.now() / 1000) + 600,
  });
  return url.slice(config.publicUrl.length);
}

/** Streamed through our own code, and not kept in the location's cache. */
const large = 400_000;
const bodyOf = async (response: Response) => new Uint8Array(await response.arrayBuffer());
const get = (path: string, over: { headers?: Record<string, string>; env?: Env } = {}) =>
  call(path, { settle: false, ...over });

function envWith(over: Partial<Env>): Env {
  return new Proxy(env, {
    get: (target, property) => (property in over ? over[property as keyof Env] : Reflect.get(target, property)),
  });
}

/** R2 with each body replaced, and its calls told. */
function bucketWith(
  replace: (body: ReadableStream<Uint8Array>) => ReadableStream<Uint8Array>,
  calls: string[] = [],
): R2Bucket {
  const get = async (key: string, options?: R2GetOptions) => {
    calls.push(`get ${JSON.stringify(options?.range ?? null)}`);
    const object = await env.PROXIES.get(key, options ?? {});
    if (object === null) return null;
    return { size: object.size, uploaded: object.uploaded, body: replace(object.body) };
  };
  const head = (key: string) => {
    calls.push("head");
    return env.PROXIES.head(key);
  };
  return { get, head } as unknown as R2Bucket;
}

/** Only the first bytes of a body, and then its end or an error. */
function cut(body: ReadableStream<Uint8Array>, keptBytes: number, fault: Error | null): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let keep = keptBytes;
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await reader.read();
      if (!done && keep > 0) controller.enqueue(value.subarray(0, keep));
      keep -= done ? keep : value.length;
      if (keep > 0) return;
      await reader.cancel();
      if (fault === null) controller.close();
      else controller.error(fault);
    },
  });
}

/** The objects, with their answers to `locateProxy` refused, or the events that are applied told. */
function objectsWith({ applied = [], deaf = false }: { applied?: string[]; deaf?: boolean }): DurableObjectNamespace {
  const wrap = (name: string) => {
    const door = env.ASSET.getByName(name) as unknown as Record<string, (...args: unknown[]) => unknown>;
    return {
      apply(envelope: { event: { type: string } }) {
        applied.push(envelope.event.type);
        return door.apply?.(envelope);
      },
      locateProxy(...args: unknown[]) {
        if (deaf) throw new Error("the object is overloaded");
        return door.locateProxy?.(...args);
      },
    };
  };
  return { getByName: wrap } as unknown as DurableObjectNamespace;
}

const down = async () => {
  throw new Error("R2 is down");
};
const noBucket = { get: down, head: down } as unknown as R2Bucket;

test.each([
  ["an error", new Error("internal error (10001)")],
  ["an early end", null],
])("R2 breaking off with %s is carried on from Wasabi, to the byte", async (_how, fault) => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed: true, proxyBytes: large });
  wasabi.objects.set(seeded.wasabiKey, seeded);
  const breaking = envWith({ PROXIES: bucketWith((body) => cut(body, 123_456, fault)) });
  const url = await urlOf(seeded);
  const whole = await get(url, { env: breaking });
  expect(whole.headers.get("x-served-from")).toBe("r2");
  expect(await bodyOf(whole)).toEqual(seeded.bytes);
  const part = await get(url, { env: breaking, headers: { range: "bytes=100-300099" } });
  expect(part.status).toBe(206);
  expect(await bodyOf(part)).toEqual(seeded.bytes.slice(100, 300_100));
  expect(wasabi.requests).toHaveLength(2);
});

test.each([1000, large])(
  "%i bytes that no tier can carry on break the response: never a short video",
  async (proxyBytes) => {
    const wasabi = openWasabiStub();
    const seeded = await seedProxy({ placed: true, proxyBytes });
    wasabi.objects.set(seeded.wasabiKey, seeded);
    wasabi.broken = 503;
    let reads = 0;
    const bucket = bucketWith((body) => {
      reads += 1;
      return cut(body, reads === 1 ? 10 : 0, new Error("gone"));
    });
    const response = await get(await urlOf(seeded), { env: envWith({ PROXIES: bucket }) });
    expect(response.status).toBe(200);
    await expect(response.arrayBuffer()).rejects.toThrow();
    expect(reads).toBeLessThan(10);
  },
);

test("Wasabi breaking off is carried on too, from whichever tier has the rest", async () => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed: true, proxyBytes: large });
  wasabi.objects.set(seeded.wasabiKey, seeded);
  // R2 refuses once: the response begins in Wasabi, which sends 40 bytes at a time.
  let refusals = 0;
  const bucket = {
    get: (key: string, options: R2GetOptions) => (refusals++ === 0 ? down() : env.PROXIES.get(key, options)),
    head: down,
  } as unknown as R2Bucket;
  const honest = vi.mocked(globalThis.fetch).getMockImplementation();
  vi.mocked(globalThis.fetch).mockImplementation(async (input, init) => {
    const response = await honest?.(input, init);
    if (response === undefined) throw new Error("the stub is not in place");
    const { status, headers, body } = response;
    return body === null ? response : new Response(cut(body, 40, null), { status, headers });
  });
  const response = await get(await urlOf(seeded), { env: envWith({ PROXIES: bucket }) });
  expect(response.headers.get("x-served-from")).toBe("wasabi");
  expect(await bodyOf(response)).toEqual(seeded.bytes);
  expect(refusals).toBe(2);
});

test("a hundred viewers of a missing proxy are one promotion, and all are served at once", async () => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed: false });
  wasabi.objects.set(seeded.wasabiKey, seeded);
  const applied: string[] = [];
  const watched = envWith({ ASSET: objectsWith({ applied }) });
  const url = await urlOf(seeded);
  const headers = { range: "bytes=10-19" };
  const view = async () => bodyOf(await call(url, { env: watched, headers }));
  const views = await Promise.all(Array.from({ length: 100 }, view));
  for (const bytes of views) expect(bytes).toEqual(seeded.bytes.slice(10, 20));
  expect(applied).toEqual(["ProxyRequested"]);
});

test("Wasabi and the asset being down harm no hit", async () => {
  const wasabi = openWasabiStub();
  wasabi.broken = 503;
  const seeded = await seedProxy({ placed: true });
  const response = await call(await urlOf(seeded), {
    env: envWith({ ASSET: objectsWith({ deaf: true }) }),
    settle: false,
  });
  expect(response.headers.get("x-served-from")).toBe("r2");
  expect(await bodyOf(response)).toEqual(seeded.bytes);
  expect(wasabi.requests).toEqual([]);
});

test("nobody left to serve raises one alert, which serving again clears", async () => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed: true });
  wasabi.objects.set(seeded.wasabiKey, seeded);
  wasabi.broken = 503;
  const url = await urlOf(seeded);
  const unserved = async () =>
    (await listAlerts(env.CATALOGUE, 100)).filter(({ cause }) => cause === "delivery:unserved");
  const noTier = envWith({ PROXIES: noBucket });
  for (let viewer = 0; viewer < 3; viewer++) {
    const response = await call(url, { env: noTier });
    expect(response.headers.get("retry-after")).toMatch(/^\d+$/);
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(await problemOf(response)).toMatchObject({ status: 503, code: "UNAVAILABLE" });
  }
  expect(await unserved()).toMatchObject([{ code: "WASABI_UNAVAILABLE", times: 1, file_id: null }]);

  const served = { at: new Date().toISOString(), counts: [{ servedFrom: "r2", requests: 2, bytes: 10 }] };
  const disproves = (atMs: number) => ({
    cause: "delivery:unserved",
    lastRaisedBefore: new Date(Date.now() + atMs).toISOString(),
  });
  await recordServed(env.CATALOGUE, { ...served, disproves: disproves(-60_000) });
  expect(await unserved()).toHaveLength(1);
  await recordServed(env.CATALOGUE, { ...served, disproves: disproves(60_000) });
  expect(await unserved()).toEqual([]);
  const counts = await deliveryCounts(env.CATALOGUE, served.at.slice(0, 10));
  expect(counts.find(({ servedFrom }) => servedFrom === "r2")).toMatchObject({ requests: 4, bytes: 20 });
});

test("a small proxy in demand is read from the location's cache, whole and by range, until its minute ends", async () => {
  const seeded = await seedProxy({ placed: true });
  const url = await urlOf(seeded);
  const calls: string[] = [];
  const watched = envWith({ PROXIES: bucketWith((body) => body, calls) });
  const view = async (range?: string) => {
    const response = await call(url, {
      env: watched,
      ...(range === undefined ? {} : { headers: { range } }),
    });
    const bytes = await bodyOf(response);
    expect(response.headers.get("x-served-from")).toBe("r2");
    return { bytes, cached: response.headers.get("x-cache"), range: response.headers.get("content-range") };
  };
  const now = vi.spyOn(Date, "now").mockReturnValue(Math.floor(Date.now() / 60_000) * 60_000 + 1_000);
  for (let viewer = 0; viewer < 3; viewer++) expect((await view("bytes=0-4")).cached).toBeNull();
  expect(calls).toHaveLength(4);
  expect(await view("bytes=5-9")).toEqual({
    bytes: seeded.bytes.slice(5, 10),
    cached: "hit",
    range: "bytes 5-9/1000",
  });
  expect(await view("bytes=-3")).toEqual({
    bytes: seeded.bytes.slice(-3),
    cached: "hit",
    range: "bytes 997-999/1000",
  });
  expect(await view()).toEqual({ bytes: seeded.bytes, cached: "hit", range: null });
  expect(calls).toHaveLength(4);
  const forged = await get(url.replace(/sig=./, "sig=A").replace(/sig=A./, "sig=AA"), { env: watched });
  expect(await problemOf(forged)).toMatchObject({ status: 403 });
  now.mockReturnValue(Date.now() + 60_000);
  expect((await view()).cached).toBeNull();
  now.mockRestore();
});
