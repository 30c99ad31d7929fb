/** Delivery against the real R2 binding and a real Asset object; Wasabi answers at the network's edge. */
import { expect, test, vi } from "vitest";
import { call, config, env, problemOf, quality, type Seeded, seedProxy, storedState } from "../../test/door-worker.ts";
import { openWasabiStub } from "../../test/wasabi-stub-worker.ts";
import { signPlaybackUrl } from "../playback-url.ts";
import type { Env } from "../stores/config.ts";

async function urlOf(seeded: Seeded, over: { downloadName?: string; ttlSeconds?: number; jobId?: string } = {}) {
  const url = await signPlaybackUrl(config.publicUrl, config.playbackKeys, {
    fileId: seeded.upload.fileId,
    jobId: over.jobId ?? seeded.jobId,
    quality,
    downloadName: over.downloadName ?? null,
    expiresAtSeconds: Math.floor(Date.now() / 1000) + (over.ttlSeconds ?? 600),
  });
  return url.slice(config.publicUrl.length);
}

const bodyOf = async (response: Response) => new Uint8Array(await response.arrayBuffer());
/** Reads the body while the worker's background work is still going, as a client does. */
const get = (path: string, headers: Record<string, string> = {}, over: { method?: string; env?: Env } = {}) =>
  call(path, { headers, settle: false, ...over });

/** The bindings with some replaced. */
function envWith(over: Partial<Env>): Env {
  return new Proxy(env, {
    get: (target, property) => (property in over ? over[property as keyof Env] : Reflect.get(target, property)),
  });
}

const fails = async () => {
  throw new Error("R2 is down");
};
const brokenBucket = { get: fails, head: fails } as unknown as R2Bucket;

/** The real objects, with every call to one of them told. */
function watchedObjects(calls: string[]): DurableObjectNamespace {
  const watched = (stub: object) =>
    new Proxy(stub, {
      get(target, method) {
        const member: unknown = Reflect.get(target, method);
        if (typeof member !== "function") return member;
        return (...args: unknown[]) => {
          calls.push(String(method));
          // Not through Function.prototype: on an RPC stub, that would be a remote method of this name.
          return (member as (...each: unknown[]) => unknown)(...args);
        };
      },
    });
  return { getByName: (name: string) => watched(env.ASSET.getByName(name)) } as unknown as DurableObjectNamespace;
}

test("a hit is the whole file, with every header a player needs, and Wasabi is not asked", async () => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed: true });
  const response = await get(await urlOf(seeded));
  expect(response.status).toBe(200);
  expect(Object.fromEntries(response.headers)).toMatchObject({
    "accept-ranges": "bytes",
    "content-length": "1000",
    "content-type": "video/mp4",
    etag: `"${seeded.jobId}-${quality}"`,
    "last-modified": expect.stringMatching(/GMT$/),
    "x-served-from": "r2",
    "access-control-allow-origin": "*",
    "access-control-expose-headers": expect.stringContaining("x-served-from"),
  });
  const [, maxAge] = /^private, max-age=(\d+), immutable$/.exec(response.headers.get("cache-control") ?? "") ?? [];
  expect(Number(maxAge)).toBeGreaterThan(590);
  expect(Number(maxAge)).toBeLessThanOrEqual(600);
  expect(response.headers.has("content-disposition")).toBe(false);
  expect(await bodyOf(response)).toEqual(seeded.bytes);
  expect(wasabi.requests).toEqual([]);
});

const ranges: readonly (readonly [range: string, from: number, to: number])[] = [
  ["bytes=0-", 0, 999],
  ["bytes=0-0", 0, 0],
  ["bytes=100-199", 100, 199],
  ["bytes=900-5000", 900, 999],
  ["bytes=999-", 999, 999],
  ["bytes=-1", 999, 999],
  ["bytes=-300", 700, 999],
  ["bytes=-5000", 0, 999],
];

test.each([true, false])("ranges are exact, from R2 (%s) or Wasabi", async (placed) => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed });
  wasabi.objects.set(seeded.wasabiKey, seeded);
  const url = await urlOf(seeded);
  for (const [range, from, to] of ranges) {
    const response = await get(url, { range });
    expect(response.status, range).toBe(206);
    expect(response.headers.get("content-range"), range).toBe(`bytes ${from}-${to}/1000`);
    expect(response.headers.get("content-length"), range).toBe(String(to - from + 1));
    expect(response.headers.get("x-served-from"), range).toBe(placed ? "r2" : "wasabi");
    expect(await bodyOf(response), range).toEqual(seeded.bytes.slice(from, to + 1));
  }
  for (const range of ["bytes=1000-", "bytes=5000-6000", "bytes=-0", "bytes=99999999999999999999-"]) {
    const response = await get(url, { range });
    expect(response.headers.get("content-range"), range).toBe("bytes */1000");
    expect(await problemOf(response), range).toMatchObject({ status: 416, code: "RANGE_NOT_SATISFIABLE" });
  }
  for (const range of ["bytes=0-1,5-6", "bytes=9-3", "items=0-1"]) {
    const response = await get(url, { range });
    expect(response.status, range).toBe(200);
    expect(response.headers.has("content-range"), range).toBe(false);
    expect(await bodyOf(response), range).toEqual(seeded.bytes);
  }
});

test("conditions: 304 for what the client has, If-Range only for these very bytes", async () => {
  const seeded = await seedProxy({ placed: true });
  const url = await urlOf(seeded);
  const etag = `"${seeded.jobId}-${quality}"`;
  const notModified = await get(url, { "if-none-match": `"x", W/${etag}` });
  expect(notModified.status).toBe(304);
  expect(notModified.headers.get("etag")).toBe(etag);
  expect(notModified.body).toBeNull();
  const later = new Date(Date.now() + 5_000).toUTCString();
  expect((await get(url, { "if-modified-since": later })).status).toBe(304);
  const statusWith = async (headers: Record<string, string>) => {
    const response = await get(url, headers);
    await bodyOf(response);
    return response.status;
  };
  expect(await statusWith({ "if-none-match": '"other"', "if-modified-since": later })).toBe(200);
  expect(await statusWith({ range: "bytes=0-1", "if-range": etag })).toBe(206);
  expect(await statusWith({ range: "bytes=0-1", "if-range": '"other"' })).toBe(200);
});

test.each([true, false])("HEAD has the headers and no body, from R2 (%s) or Wasabi", async (placed) => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed });
  wasabi.objects.set(seeded.wasabiKey, seeded);
  const response = await get(await urlOf(seeded), { range: "bytes=0-1" }, { method: "HEAD" });
  expect(response.status).toBe(200);
  expect(response.headers.get("content-length")).toBe("1000");
  expect(response.headers.get("x-served-from")).toBe(placed ? "r2" : "wasabi");
  expect(response.body).toBeNull();
});

test("a download is saved under the asset's name, in any script", async () => {
  const seeded = await seedProxy({ placed: true });
  const response = await get(await urlOf(seeded, { downloadName: "Señal “A”_360p.mp4" }));
  expect(response.headers.get("content-disposition")).toBe(
    "attachment; filename=\"Se_al _A__360p.mp4\"; filename*=UTF-8''Se%C3%B1al%20%E2%80%9CA%E2%80%9D_360p.mp4",
  );
  await bodyOf(response);
});

test("a URL that is forged, expired or not ours reads nothing from any tier", async () => {
  const seeded = await seedProxy({ placed: true });
  const calls: string[] = [];
  const untouchable = envWith({ PROXIES: brokenBucket, ASSET: watchedObjects(calls) });
  const refusal = async (path: string) => {
    const response = await get(path, {}, { env: untouchable });
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    const { status, code } = await problemOf(response);
    return `${status} ${code}`;
  };
  const url = await urlOf(seeded);
  expect(await refusal(url.replace(/sig=./, "sig=A").replace(/sig=A./, "sig=AA"))).toBe("403 BAD_SIGNATURE");
  expect(await refusal(url.replace("360p", "540p"))).toBe("403 BAD_SIGNATURE");
  expect(await refusal(url.split("?")[0] ?? "")).toBe("403 BAD_SIGNATURE");
  expect(await refusal(await urlOf(seeded, { ttlSeconds: -1 }))).toBe("403 URL_EXPIRED");
  expect(await refusal("/proxies/nonsense")).toBe("404 NOT_FOUND");
  expect(calls).toEqual([]);
});

test("a preflight and a wrong method", async () => {
  const preflight = await get("/proxies/any/360p.mp4", {}, { method: "OPTIONS" });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get("access-control-allow-headers")).toContain("range");
  const response = await get("/proxies/any/360p.mp4", {}, { method: "DELETE" });
  expect(response.headers.get("allow")).toBe("GET, HEAD, OPTIONS");
  expect(await problemOf(response)).toMatchObject({ status: 405 });
});

test("a hit is noted once an hour, whatever the number of ranges, and asks for nothing else", async () => {
  const seeded = await seedProxy({ placed: true });
  const url = await urlOf(seeded);
  const calls: string[] = [];
  const watched = envWith({ ASSET: watchedObjects(calls) });
  const accessedAt = async () =>
    (await storedState(seeded.upload.fileId)).renditions[0]?.copies.find(({ tier }) => tier === "r2")?.lastAccessAtMs;
  const before = await accessedAt();
  for (const range of ["bytes=0-0", "bytes=1-1", "bytes=2-2"]) {
    const response = await call(url, { headers: { range }, env: watched });
    expect((await bodyOf(response)).length).toBe(1);
  }
  expect(calls).toEqual(["apply"]);
  expect(await accessedAt()).not.toBe(before);
});

test("a miss streams from Wasabi at once and has the proxy brought back", async () => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed: false });
  wasabi.objects.set(seeded.wasabiKey, seeded);
  const url = await urlOf(seeded);
  const response = await call(url, { settle: true });
  expect(response.headers.get("x-served-from")).toBe("wasabi");
  expect(await bodyOf(response)).toEqual(seeded.bytes);
  const r2 = (await seeded.door.view())?.renditions[0]?.copies.find(({ tier }) => tier === "r2");
  expect(r2?.status).toBe("placing");
});

test("R2 failing falls back to Wasabi; both failing is 503 with Retry-After", async () => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed: true });
  wasabi.objects.set(seeded.wasabiKey, seeded);
  const url = await urlOf(seeded);
  const noR2 = envWith({ PROXIES: brokenBucket });
  const served = await get(url, { range: "bytes=5-9" }, { env: noR2 });
  expect(served.status).toBe(206);
  expect(served.headers.get("x-served-from")).toBe("wasabi");
  expect(await bodyOf(served)).toEqual(seeded.bytes.slice(5, 10));
  for (const status of [500, 503, 403]) {
    wasabi.broken = status;
    const response = await get(url, {}, { env: noR2 });
    expect(response.headers.get("retry-after")).toMatch(/^\d+$/);
    expect(await problemOf(response)).toMatchObject({ status: 503, code: "UNAVAILABLE" });
  }
});

test("other bytes never come under an old URL: 410 when Wasabi's object or the job has been replaced", async () => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed: false });
  wasabi.objects.set(seeded.wasabiKey, { bytes: new Uint8Array(1000), etag: "newer" });
  for (const method of ["GET", "HEAD"]) {
    expect((await get(await urlOf(seeded), {}, { method })).status, method).toBe(410);
  }
  const older = await get(await urlOf(seeded, { jobId: "f".repeat(24) }));
  expect(await problemOf(older)).toMatchObject({ status: 410, code: "SUPERSEDED" });
});

test("a URL signed before its asset was deleted finds nothing, though Wasabi still holds the bytes", async () => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed: false });
  wasabi.objects.set(seeded.wasabiKey, seeded);
  const url = await urlOf(seeded);
  await seeded.door.apply({ key: null, by: "test", event: { type: "DeleteRequested" } });
  const { graceEndsAtMs } = (await storedState(seeded.upload.fileId)).job;
  vi.spyOn(Date, "now").mockReturnValue((graceEndsAtMs ?? 0) + 1);
  await seeded.door.apply({ key: null, by: "test", event: { type: "GraceElapsed" } });
  vi.mocked(Date.now).mockRestore();
  expect((await seeded.door.view())?.state).toBe("deleted");
  expect(await problemOf(await get(url))).toMatchObject({ status: 404, code: "NOT_FOUND" });
  expect(wasabi.requests).toEqual([]);
});

test.each([
  ["gone", 503, "UNAVAILABLE"],
  ["replaced", 410, "SUPERSEDED"],
])("an object that Wasabi proves %s is reported; nothing is invented in its place", async (how, status, code) => {
  const wasabi = openWasabiStub();
  const seeded = await seedProxy({ placed: false });
  if (how === "replaced") wasabi.objects.set(seeded.wasabiKey, { bytes: new Uint8Array(1000), etag: "foreign" });
  const response = await call(await urlOf(seeded), { settle: true });
  expect(await problemOf(response)).toMatchObject({ status, code });
  const history = await seeded.door.history(null, 5);
  expect(history.map(({ event }) => event)).toContain("ArchiveLost");
});
