import { env } from "cloudflare:workers";
import { beforeEach, expect, test, vi } from "vitest";
import { edgeKey } from "../../schemas/key.ts";
import { compositeOf, hexOf, partRanges } from "./part-digest.ts";
import { headEdge, removeEdge } from "./r2.ts";
import {
  abortEdgeUpload,
  completeEdgeUpload,
  type EdgePart,
  moveEdgePart,
  openEdgeUpload,
  placeWholeEdge,
} from "./r2-place.ts";
import { StoreFailure } from "./store-failure.ts";
import { transferPart, transferPartCount } from "./transfer-part.ts";

const bucket = env.PROXIES;
const key = edgeKey("0123456789abcdef01234567", "540p");
const mib = 1024 ** 2;
const digestPartBytes = 2 * mib;
/** Two transfer parts of 6 and 3 MiB + 5: three digest parts and two. */
const sizeBytes = 9 * mib + 5;
const partSizeBytes = 6 * mib;
const plan = { sizeBytes, partSizeBytes, digestPartBytes };

type Bytes = Uint8Array<ArrayBuffer>;
const content = () => Uint8Array.from({ length: sizeBytes }, (_, i) => (i * 7 + (i >> 10)) & 255);
const shaOf = async (bytes: Bytes) => hexOf(await crypto.subtle.digest("SHA-256", bytes));
const streamOf = (bytes: Bytes) => new Response(bytes).body as ReadableStream<Uint8Array>;
const never = new AbortController().signal;

const bytes = content();
const partSha256 = await Promise.all(
  partRanges(sizeBytes, digestPartBytes).map(({ from, sizeBytes: length }) => shaOf(bytes.slice(from, from + length))),
);
const sha256 = {
  partSizeBytes: digestPartBytes,
  parts: partSha256.length,
  composite: await compositeOf(partSha256),
};

/** One part of a source that holds `from`; `read` decides what comes instead. */
function move(n: number, uploadId: string, options: { from?: Bytes; signal?: AbortSignal } = {}) {
  const { from = bytes, signal = never } = options;
  const part = transferPart(n, plan);
  return moveEdgePart(bucket, {
    key,
    uploadId,
    part,
    digestPartBytes,
    expectedSha256: partSha256.slice(part.digests.from, part.digests.to),
    read: async (range) => streamOf(from.slice(range.from, range.from + range.sizeBytes)),
    signal,
  });
}

const moveAll = (uploadId: string) =>
  Promise.all(Array.from({ length: transferPartCount(plan) }, (_, index) => move(index + 1, uploadId)));
const complete = (uploadId: string, parts: EdgePart[]) =>
  completeEdgeUpload(bucket, { key, uploadId, parts, sizeBytes, sha256 });
const placeWhole = (placement: Partial<Parameters<typeof placeWholeEdge>[1]>) =>
  placeWholeEdge(bucket, {
    key,
    sizeBytes,
    sha256,
    partSha256,
    read: async () => streamOf(bytes),
    claim: async () => undefined,
    signal: never,
    ...placement,
  });

const flipped = (at: number) => {
  const copy = bytes.slice();
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
};

/** Sends the bytes, then neither more nor an end. */
function stalledAfter(sent: Bytes): ReadableStream<Uint8Array> {
  const { readable, writable } = new IdentityTransformStream();
  void writable
    .getWriter()
    .write(sent)
    .catch(() => undefined);
  return readable;
}

beforeEach(() => removeEdge(bucket, key));

test("parts moved in any order become the object", async () => {
  const uploadId = await openEdgeUpload(bucket, key, sha256);
  const parts = await moveAll(uploadId);
  expect(parts.map(({ n }) => n)).toEqual([1, 2]);
  expect(await headEdge(bucket, key)).toBeNull();
  const placed = await complete(uploadId, parts.toReversed());
  expect(placed).toMatchObject({ sizeBytes, sha256: sha256.composite });
  expect(await headEdge(bucket, key)).toEqual(placed);
  const object = await bucket.get(key);
  expect(await shaOf(new Uint8Array((await object?.arrayBuffer()) ?? new ArrayBuffer()))).toBe(await shaOf(bytes));
});

test("a byte that differs in any digest part stores nothing, and the right part can still come", async () => {
  const uploadId = await openEdgeUpload(bucket, key, sha256);
  for (const { n, from, sizeBytes: length } of partRanges(sizeBytes, digestPartBytes)) {
    const carrier = from < partSizeBytes ? 1 : 2;
    await expect(move(carrier, uploadId, { from: flipped(from + length - 1) })).rejects.toMatchObject({
      code: "CHECKSUM_MISMATCH",
      message: expect.stringContaining(`Part ${n} `),
    });
    const invented = [{ n: carrier, etag: "none" }];
    await expect(complete(uploadId, invented)).rejects.toMatchObject({ code: "UPLOAD_LOST" });
    await expect(placeWhole({ read: async () => streamOf(flipped(from)) })).rejects.toMatchObject({
      code: "CHECKSUM_MISMATCH",
    });
  }
  expect(await headEdge(bucket, key)).toBeNull();
  expect(await complete(uploadId, await moveAll(uploadId))).toMatchObject({ sha256: sha256.composite });
});

test.each([
  ["short", -1, "ended early"],
  ["long", 1, "more than it announced"],
])("a %s source stores nothing", async (_name, more, message) => {
  const uploadId = await openEdgeUpload(bucket, key, sha256);
  const part = transferPart(2, plan);
  const odd = new Uint8Array(part.sizeBytes + more);
  odd.set(bytes.subarray(part.from, part.from + odd.length));
  const moving = moveEdgePart(bucket, {
    key,
    uploadId,
    part,
    digestPartBytes,
    expectedSha256: partSha256.slice(part.digests.from),
    read: async () => streamOf(odd),
    signal: never,
  });
  await expect(moving).rejects.toThrow(message);
  await expect(moving).rejects.toMatchObject({ code: "WASABI_UNAVAILABLE", retryable: true });
  const whole = new Uint8Array(sizeBytes + more);
  whole.set(bytes.subarray(0, whole.length));
  await expect(placeWhole({ read: async () => streamOf(whole) })).rejects.toThrow(message);
  expect(await headEdge(bucket, key)).toBeNull();
});

test("a signal ends a move from a source that stalls, with its reason and at once", async () => {
  const uploadId = await openEdgeUpload(bucket, key, sha256);
  const part = transferPart(1, plan);
  for (const sentBytes of [0, 3 * mib, part.sizeBytes]) {
    const stopped = new AbortController();
    const reason = new Error("no longer wanted");
    setTimeout(() => stopped.abort(reason), 50);
    const moving = moveEdgePart(bucket, {
      key,
      uploadId,
      part,
      digestPartBytes,
      expectedSha256: partSha256.slice(0, 3),
      read: async () => stalledAfter(bytes.slice(0, sentBytes)),
      signal: stopped.signal,
    });
    await expect(moving).rejects.toBe(reason);
  }
  const aborted = AbortSignal.abort(new Error("before it began"));
  await expect(move(1, uploadId, { signal: aborted })).rejects.toThrow("before it began");
  await expect(placeWhole({ signal: aborted })).rejects.toThrow("before it began");
});

test("completing twice is completing once; another object at the key does not count", async () => {
  const uploadId = await openEdgeUpload(bucket, key, sha256);
  const parts = await moveAll(uploadId);
  const placed = await complete(uploadId, parts);
  expect(await complete(uploadId, parts)).toEqual(placed);
  await abortEdgeUpload(bucket, key, uploadId);
  expect(await headEdge(bucket, key)).toEqual(placed);
  const other = { ...sha256, composite: "0".repeat(64) };
  await expect(completeEdgeUpload(bucket, { key, uploadId, parts, sizeBytes, sha256: other })).rejects.toMatchObject({
    code: "UPLOAD_LOST",
    retryable: true,
  });
});

test("after an abort nothing completes, and aborting again is no failure", async () => {
  const uploadId = await openEdgeUpload(bucket, key, sha256);
  const parts = await moveAll(uploadId);
  await abortEdgeUpload(bucket, key, uploadId);
  await abortEdgeUpload(bucket, key, uploadId);
  await expect(complete(uploadId, parts)).rejects.toMatchObject({ code: "UPLOAD_LOST", retryable: true });
  expect(await headEdge(bucket, key)).toBeNull();
});

test("a part that is moved again replaces the first, whose ETag then completes nothing", async () => {
  const uploadId = await openEdgeUpload(bucket, key, sha256);
  const first = await moveAll(uploadId);
  const again = await moveAll(uploadId);
  await expect(complete(uploadId, first)).rejects.toMatchObject({ code: "UPLOAD_LOST" });
  expect(await complete(uploadId, again)).toMatchObject({ sizeBytes });
});

test("an object of one part is claimed just before its put, and shows only if that is granted", async () => {
  const order: string[] = [];
  const refused = new StoreFailure("NOT_READY", "busy");
  const cancel = vi.fn<(reason: unknown) => void>();
  const unread = new ReadableStream<Uint8Array>({ cancel });
  await expect(placeWhole({ read: async () => unread, claim: () => Promise.reject(refused) })).rejects.toBe(refused);
  expect(cancel).toHaveBeenCalledWith(refused);
  expect(await headEdge(bucket, key)).toBeNull();
  const placed = await placeWhole({
    read: async () => {
      order.push("read");
      return streamOf(bytes);
    },
    claim: async () => void order.push("claim"),
  });
  expect(order).toEqual(["read", "claim"]);
  expect(await headEdge(bucket, key)).toEqual(placed);
});

test("digests that do not add up to the part are refused before anything is read", async () => {
  const uploadId = await openEdgeUpload(bucket, key, sha256);
  const read = () => Promise.reject(new Error("read"));
  const part = transferPart(1, plan);
  for (const expectedSha256 of [partSha256, partSha256.slice(0, 2), []]) {
    const moving = moveEdgePart(bucket, { key, uploadId, part, digestPartBytes, expectedSha256, read, signal: never });
    await expect(moving).rejects.toMatchObject({ code: "CHECKSUM_MISMATCH" });
  }
  await expect(placeWhole({ partSha256: partSha256.slice(1), read })).rejects.toMatchObject({
    code: "CHECKSUM_MISMATCH",
  });
});
