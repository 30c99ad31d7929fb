import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { judgeAnswer } from "./source-answer.ts";
import { openSourceProxy, type SourceProxy, type SourceProxyOptions } from "./source-proxy.ts";
import { makeTestFolder } from "./testing/ffmpeg-clip.ts";
import { type OriginFaults, type OriginServer, startOrigin } from "./testing/origin-server.ts";

const SIZE = 3_000_001;
let folder: Awaited<ReturnType<typeof makeTestFolder>>;
let file: string;
const content = randomBytes(SIZE);
let origin: OriginServer;
let proxy: SourceProxy;

beforeAll(async () => {
  folder = await makeTestFolder();
  file = join(folder.path, "original.bin");
  await writeFile(file, content);
});
afterAll(() => folder.remove());
afterEach(async () => {
  await proxy.close();
  await origin.close();
});

async function open(faults: OriginFaults = {}, options: Partial<SourceProxyOptions> = {}) {
  origin = await startOrigin(file, faults);
  proxy = await openSourceProxy({
    location: await origin.location(),
    freshUrl: origin.location,
    sleep: async () => {},
    ...options,
  });
}

async function get(range?: string): Promise<{ status: number; body: Buffer }> {
  const response = await fetch(proxy.url, range ? { headers: { range } } : {});
  return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
}

describe("delivers", () => {
  test("the whole file and any range of it", async () => {
    await open();
    expect((await get()).body.equals(content)).toBe(true);
    const middle = await get("bytes=1000-1999");
    expect(middle.status).toBe(206);
    expect(middle.body.equals(content.subarray(1000, 2000))).toBe(true);
    expect((await get("bytes=2999990-")).body.equals(content.subarray(2_999_990))).toBe(true);
    expect((await get("bytes=-5")).body.equals(content.subarray(-5))).toBe(true);
    expect((await get(`bytes=${SIZE}-`)).status).toBe(416);
    expect(proxy.failure()).toBeNull();
  });

  test("a file of many windows to readers of different pace, each its own bytes", async () => {
    const large = randomBytes(40_000_000);
    await writeFile(join(folder.path, "large.bin"), large);
    origin = await startOrigin(join(folder.path, "large.bin"));
    proxy = await openSourceProxy({ location: await origin.location(), freshUrl: origin.location });
    const readSlowly = async (pauseMs: number) => {
      const pieces: Uint8Array[] = [];
      const response = await fetch(proxy.url);
      for await (const piece of response.body ?? []) {
        pieces.push(piece);
        if (pieces.length % 50 === 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
      return Buffer.concat(pieces);
    };
    const read = await Promise.all([0, 10, 30].map(readSlowly));
    expect(read.map((bytes) => bytes.equals(large))).toEqual([true, true, true]);
    expect(proxy.failure()).toBeNull();
  });

  test("through cuts, a stall and expired signatures", async () => {
    await open({ cutAfterBytes: 100_000, cuts: 5, stalls: 1, requestsPerSignature: 2 }, { stallTimeoutMs: 200 });
    expect((await get("bytes=0-")).body.equals(content)).toBe(true);
    expect(origin.signatures()).toBeGreaterThan(2);
    expect(proxy.failure()).toBeNull();
  });

  test("through a store that is down for a moment, or throttles with 403", async () => {
    await open({ status: (n) => (n <= 3 ? 503 : n <= 5 ? 403 : null) });
    expect((await get("bytes=0-")).body.equals(content)).toBe(true);
  });

  test("through throttling that comes as 403, without asking for another URL", async () => {
    const waits: number[] = [];
    const refusal = (n: number) => (n <= 3 ? { status: 403, code: "RequestRateLimitExceeded" } : null);
    await open({ refusal }, { sleep: async (ms) => void waits.push(ms) });
    expect((await get("bytes=0-99999")).body.equals(content.subarray(0, 100_000))).toBe(true);
    expect(waits).toEqual([250, 500, 1000]);
    expect(origin.signatures()).toBe(1);
    expect(proxy.counts()).toEqual({ bytes: 100_000, retries: 3, freshUrls: 0 });
  });

  test.each([
    { status: 403, code: "AccessDenied", message: "Request has expired" },
    { status: 400, code: "ExpiredToken" },
    { status: 401, code: "Unauthorized" },
    { status: 403, code: "InvalidAccessKeyId" },
  ])("after %o with a fresh URL, and at once", async (answer) => {
    const waits: number[] = [];
    await open({ refusal: (n) => (n === 1 ? answer : null) }, { sleep: async (ms) => void waits.push(ms) });
    expect((await get("bytes=0-99")).body.equals(content.subarray(0, 100))).toBe(true);
    expect(waits).toEqual([]);
    expect(origin.signatures()).toBe(2);
    expect(proxy.counts()).toEqual({ bytes: 100, retries: 1, freshUrls: 1 });
  });

  test("after a key that is replaced within the minute, with an address made after the wait", async () => {
    let signedAfterWaits = -1;
    const waits: number[] = [];
    const refusal = (n: number) => (n <= 5 ? { status: 403, code: "InvalidAccessKeyId" } : null);
    await open(
      { refusal },
      {
        sleep: async (ms) => void waits.push(ms),
        freshUrl: () => {
          signedAfterWaits = waits.length;
          return origin.location();
        },
      },
    );
    expect((await get("bytes=0-99")).body.equals(content.subarray(0, 100))).toBe(true);
    expect({ waits, signedAfterWaits }).toEqual({ waits: [4_000, 8_000, 16_000, 32_000], signedAfterWaits: 4 });
    expect(proxy.failure()).toBeNull();
  });

  test("and counts every byte that the store sent, also the ones asked for twice", async () => {
    await open({ stalls: 1 }, { stallTimeoutMs: 1_000 });
    expect((await get("bytes=0-")).body.equals(content)).toBe(true);
    expect(proxy.counts()).toMatchObject({ bytes: SIZE, retries: 1 });
    expect((await get("bytes=0-999")).status).toBe(206);
    expect(proxy.counts().bytes).toBe(SIZE + 1000);
  });

  test("nothing to who does not know its path", async () => {
    await open();
    expect((await fetch(new URL("/", proxy.url))).status).toBe(404);
    expect(origin.requests()).toBe(0);
  });

  test("a probe's short look reads little of a large file", async () => {
    await open();
    const response = await fetch(proxy.url, { headers: { range: "bytes=0-" } });
    const body = response.body?.getReader();
    await body?.read();
    await body?.cancel();
    // Windows of 256 KiB, 512 KiB, 1 MiB and the rest.
    expect(origin.requests()).toBeLessThan(4);
  });
});

describe("remembers what it could not deliver", () => {
  const failing = async (faults: OriginFaults, options: Partial<SourceProxyOptions> = {}) => {
    const reported: unknown[] = [];
    await open(faults, { onFailure: (failure) => reported.push(failure), maxFruitlessTries: 3, ...options });
    await expect(get("bytes=0-")).rejects.toThrow();
    expect(reported).toEqual([proxy.failure()]);
    expect(proxy.failure()?.message).not.toMatch(/secret|http|127\.0/);
    return proxy.failure();
  };

  test("an original that is not there", async () => {
    expect(await failing({ status: () => 404 })).toMatchObject({ code: "ORIGINAL_MISSING", retryable: false });
  });

  test("an original that was replaced", async () => {
    expect(await failing({ status: (n) => (n > 1 ? 412 : null) })).toMatchObject({
      code: "SOURCE_CHANGED",
      retryable: false,
    });
  });

  test("a store that stays down, refuses for good, or stalls for good", async () => {
    expect(await failing({ status: () => 500 })).toMatchObject({ code: "WASABI_UNAVAILABLE", retryable: true });
    await proxy.close();
    await origin.close();
    expect(await failing({ status: () => 403 })).toMatchObject({ code: "SOURCE_UNREADABLE", retryable: true });
    expect(proxy.counts().freshUrls).toBe(2);
    await proxy.close();
    await origin.close();
    // A stall after half of what was asked is progress each time, so the size asked for must run out.
    const stalled = await failing({ status: (n) => (n > 2 ? 500 : null), stalls: 2 }, { stallTimeoutMs: 50 });
    expect(stalled).toMatchObject({ code: "WASABI_UNAVAILABLE" });
  });

  test("a store that lets nobody in, whatever the URL, for a minute: not to be tried again", async () => {
    const waits: number[] = [];
    const sleep = async (ms: number) => void waits.push(ms);
    const refusal = () => ({ status: 403, code: "SignatureDoesNotMatch" });
    expect(await failing({ refusal }, { maxFruitlessTries: 8, sleep })).toMatchObject({
      code: "WASABI_FORBIDDEN",
      retryable: false,
      message: "The store lets no address of the original in: the store answered 403 SignatureDoesNotMatch.",
    });
    expect(origin.requests()).toBe(6);
    expect(origin.signatures()).toBe(6);
    expect(waits).toEqual([4_000, 8_000, 16_000, 32_000]);
  });

  test("a store that throttles for good is away, not forbidden", async () => {
    const refusal = () => ({ status: 403, code: "RequestRateLimitExceeded" });
    expect(await failing({ refusal })).toMatchObject({ code: "WASABI_UNAVAILABLE", retryable: true });
    expect(origin.signatures()).toBe(1);
  });

  test("a fresh URL that cannot be had, or leads to another size", async () => {
    const none = await failing(
      { status: () => 403 },
      { freshUrl: () => Promise.reject(new Error("no http://secret")) },
    );
    expect(none).toMatchObject({ code: "SOURCE_UNREADABLE", retryable: true });
    await proxy.close();
    await origin.close();
    const other = async () => ({ ...(await origin.location()), sizeBytes: 1 });
    expect(await failing({ status: () => 403 }, { freshUrl: other })).toMatchObject({ code: "SOURCE_CHANGED" });
  });

  test("but not a reader that goes away", async () => {
    await open();
    const abort = new AbortController();
    const response = await fetch(proxy.url, { signal: abort.signal });
    await response.body?.getReader().read();
    abort.abort();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(proxy.failure()).toBeNull();
  });
});

test("the right range of another object is a replaced original, whatever the store made of If-Match", () => {
  const headers = new Headers({ "content-range": "bytes 0-9/10", etag: '"b"' });
  const asked = { from: 0, to: 9, sizeBytes: 10 };
  expect(judgeAnswer({ status: 206, headers }, { ...asked, etag: "a" })).toMatchObject({ code: "SOURCE_CHANGED" });
  expect(judgeAnswer({ status: 206, headers }, { ...asked, etag: '"b"' })).toBe("bytes");
  expect(judgeAnswer({ status: 206, headers }, asked)).toBe("bytes");
});
