/** Delivery when tiers fail, break off, or are asked by many at once: real R2 binding and Asset object. */
import { expect, onTestFinished, test, vi } from "vitest";
import { call, config, env, problemOf, quality, type Seeded, seedProxy } from "../../test/door-worker.ts";
import { openWasabiStub } from "../../test/wasabi-stub-worker.ts";
import { signPlaybackUrl } from "../playback-url.ts";
import type { Env } from "../stores/config.ts";
import { clearAlert, listAlerts } from "../stores/incident.ts";

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

test("a small answer in which Wasabi falls silent is broken off in the end, by its own connection", async () => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed: false });
  wasabi.objects.set(seeded.wasabiKey, seeded);
  const honest = vi.mocked(globalThis.fetch).getMockImplementation();
  vi.mocked(globalThis.fetch).mockImplementation(async (input, init) => {
    const response = await honest?.(input, init);
    if (response?.status !== 206) throw new Error("the stub is not in place");
    const silent = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(seeded.bytes.slice(0, 10));
        init?.signal?.addEventListener("abort", () => controller.error(init.signal?.reason));
      },
    });
    return new Response(silent, { status: 206, headers: response.headers });
  });
  const url = await urlOf(seeded);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const response = await get(url);
  expect(response.headers.get("x-served-from")).toBe("wasabi");
  const reading = expect(response.arrayBuffer()).rejects.toThrow("it did not end within 120000 ms");
  await vi.advanceTimersByTimeAsync(120_000);
  await reading;
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

/** Objects whose archived proxy is being restored. */
const restoring = {
  getByName: () => ({ locateProxy: async () => ({ found: true, archive: null, edgePlaced: true }) }),
} as unknown as DurableObjectNamespace;
const emptyBucket = { get: async () => null, head: async () => null } as unknown as R2Bucket;

const unservedAlerts = async () =>
  (await listAlerts(env.CATALOGUE, 100)).filter(({ cause }) => cause === "delivery:unserved");

test("nobody left to serve raises one alert, which serving again clears once it was not raised for minutes", async () => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed: true });
  wasabi.objects.set(seeded.wasabiKey, seeded);
  wasabi.broken = 503;
  const startedAtMs = Date.now() + 3_600_000;
  const now = vi.spyOn(Date, "now").mockReturnValue(startedAtMs);
  onTestFinished(() => now.mockRestore());
  const noTier = envWith({ PROXIES: noBucket });
  for (let viewer = 0; viewer < 3; viewer++) {
    const response = await call(await urlOf(seeded), { env: noTier });
    expect(response.headers.get("retry-after")).toMatch(/^\d+$/);
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(await problemOf(response)).toMatchObject({ status: 503, code: "UNAVAILABLE" });
  }
  expect(await unservedAlerts()).toMatchObject([
    {
      code: "WASABI_UNAVAILABLE",
      times: 1,
      file_id: null,
      message: expect.stringContaining("R2 failed, and Wasabi failed"),
    },
  ]);
  for (const [afterMinutes, open] of [
    [2, 1],
    [4, 1],
    [8, 0],
  ] as const) {
    now.mockReturnValue(startedAtMs + afterMinutes * 60_000);
    // Another proxy's being restored keeps it open no longer.
    const other = await call(await urlOf(seeded), { env: envWith({ PROXIES: emptyBucket, ASSET: restoring }) });
    expect(other.status).toBe(503);
    expect((await call(await urlOf(seeded))).status).toBe(200);
    expect(await unservedAlerts(), `after ${afterMinutes} minutes`).toHaveLength(open);
  }
});

test("an asset that does not answer is not called a failure of Wasabi", async () => {
  const seeded = await seedProxy({ placed: false });
  await clearAlert(env.CATALOGUE, "delivery:unserved", new Date().toISOString());
  const now = vi.spyOn(Date, "now").mockReturnValue(Date.now() + 2 * 3_600_000);
  onTestFinished(() => now.mockRestore());
  const response = await call(await urlOf(seeded), { env: envWith({ ASSET: objectsWith({ deaf: true }) }) });
  expect(await problemOf(response)).toMatchObject({ status: 503, code: "UNAVAILABLE" });
  expect(await unservedAlerts()).toMatchObject([
    { code: "UNAVAILABLE", message: expect.stringContaining("R2 has not, and its asset did not answer") },
  ]);
});

test("R2 failing while Wasabi's object is being restored raises the alert; R2 merely having nothing does not", async () => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed: false });
  await clearAlert(env.CATALOGUE, "delivery:unserved", new Date().toISOString());
  const now = vi.spyOn(Date, "now").mockReturnValue(Date.now() + 3 * 3_600_000);
  onTestFinished(() => now.mockRestore());
  const code = async (over: Partial<Env>) =>
    (await problemOf(await call(await urlOf(seeded), { env: envWith({ ASSET: restoring, ...over }) }))).code;
  expect(await code({})).toBe("UNAVAILABLE");
  expect(await unservedAlerts()).toEqual([]);
  expect(await code({ PROXIES: noBucket })).toBe("UNAVAILABLE");
  expect(await unservedAlerts()).toMatchObject([{ code: "R2_UNAVAILABLE" }]);
  expect(wasabi.requests).toEqual([]);
});

test.each([
  ["failing raises the alert", 503, ["WASABI_UNAVAILABLE"], []],
  ["proving its object gone tells the asset", null, [], ["ArchiveLost"]],
])("no tier having the rest, Wasabi %s", async (_what, broken, codes, events) => {
  const wasabi = openWasabiStub();
  wasabi.broken = broken;
  const seeded = await seedProxy({ placed: true, proxyBytes: large });
  await clearAlert(env.CATALOGUE, "delivery:unserved", new Date().toISOString());
  const now = vi.spyOn(Date, "now").mockReturnValue(Date.now() + (broken === null ? 5 : 4) * 3_600_000);
  onTestFinished(() => now.mockRestore());
  let reads = 0;
  const honest = bucketWith((body) => cut(body, 200_000, new Error("gone")));
  const bucket = {
    get: (key: string, options: R2GetOptions) => (reads++ === 0 ? honest.get(key, options) : null),
  } as unknown as R2Bucket;
  const applied: string[] = [];
  const response = await get(await urlOf(seeded), {
    env: envWith({ PROXIES: bucket, ASSET: objectsWith({ applied }) }),
  });
  await expect(response.arrayBuffer()).rejects.toThrow();
  await vi.waitFor(async () => {
    expect((await unservedAlerts()).map(({ code }) => code)).toEqual(codes);
    expect(applied.filter((type) => type !== "ProxyAccessed")).toEqual(events);
  });
});

test("a condition that fails after the file was opened lets its body go", async () => {
  const seeded = await seedProxy({ placed: true });
  const cancelled: unknown[] = [];
  const bucket = bucketWith(
    (body) =>
      new ReadableStream({
        async cancel(reason) {
          cancelled.push(reason);
          await body.cancel(reason);
        },
      }),
  );
  const headers = { "if-unmodified-since": new Date(0).toUTCString() };
  const response = await get(await urlOf(seeded), { env: envWith({ PROXIES: bucket }), headers });
  expect(await problemOf(response)).toMatchObject({ status: 412, code: "PRECONDITION_FAILED" });
  expect(cancelled).toHaveLength(1);
});

test.each([
  ["does not answer", () => Promise.resolve({ match: () => new Promise(() => undefined) })],
  ["cannot be opened", () => Promise.reject(new Error("no cache here"))],
])("a location's cache that %s holds no viewer up", async (_how, open) => {
  const seeded = await seedProxy({ placed: true });
  const now = vi.spyOn(Date, "now").mockReturnValue(Math.floor(Date.now() / 60_000) * 60_000 + 1_000);
  onTestFinished(() => now.mockRestore());
  const url = await urlOf(seeded);
  const view = async () => {
    const response = await get(url);
    return { bytes: await bodyOf(response), cached: response.headers.get("x-cache") };
  };
  for (let viewer = 0; viewer < 3; viewer++) await bodyOf(await call(url));
  expect((await view()).cached).toBe("hit");
  vi.stubGlobal("caches", { open });
  onTestFinished(() => void vi.unstubAllGlobals());
  expect(await view()).toEqual({ bytes: seeded.bytes, cached: null });
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
