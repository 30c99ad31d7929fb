import { env } from "cloudflare:workers";
import fc from "fast-check";
import { beforeEach, expect, test } from "vitest";
import { type EdgeKey, edgeKey, originalKey, proxyKey } from "../../schemas/key.ts";
import { Quality } from "../../schemas/ladder.ts";
import { compositeOf, hexOf, partRanges } from "./part-digest.ts";
import { checkedEdgeKey, getEdgeRange, headEdge, removeEdge } from "./r2.ts";
import { type EdgePlacement, placeWholeEdge } from "./r2-place.ts";
import { StoreFailure } from "./store-failure.ts";

const bucket = env.PROXIES;
const jobId = "0123456789abcdef01234567";
const key = edgeKey(jobId, "720p");
const mib = 1024 ** 2;

const content = (sizeBytes: number) => Uint8Array.from({ length: sizeBytes }, (_, i) => (i * 7 + (i >> 10)) & 255);
const sha = async (bytes: Uint8Array<ArrayBuffer>) => hexOf(await crypto.subtle.digest("SHA-256", bytes));

async function placementOf(bytes: Uint8Array<ArrayBuffer>, partSizeBytes: number): Promise<EdgePlacement> {
  const ranges = partRanges(bytes.length, partSizeBytes);
  const slice = (part: { from: number; sizeBytes: number }) => bytes.slice(part.from, part.from + part.sizeBytes);
  const partSha256 = await Promise.all(ranges.map((part) => sha(slice(part))));
  return {
    key,
    sizeBytes: bytes.length,
    sha256: { partSizeBytes, parts: ranges.length, composite: await compositeOf(partSha256) },
    partSha256,
    read: async (part) => new Response(slice(part)).body as ReadableStream<Uint8Array>,
    claim: async () => undefined,
    signal: new AbortController().signal,
  };
}

beforeEach(() => removeEdge(bucket, key));

test("no original's key and no archive key of a proxy passes, whatever their names", () => {
  const slug = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,20}$/);
  const fileId = fc.stringMatching(/^[A-Za-z0-9_-]{8,64}$/);
  const fileName = fc.oneof(
    fc.stringMatching(/^[a-z0-9 ._-]{1,40}\.(mov|mp4)$/),
    fc.constantFrom("720p.mp4", "proxies", "originals"),
  );
  const quality = fc.constantFrom(...Quality.options);
  fc.assert(
    fc.property(slug, slug, fileId, fileName, quality, (clientName, projectName, id, name, rung) => {
      const owner = { clientName, projectName, fileId: id };
      for (const foreign of [originalKey({ ...owner, fileName: name }), proxyKey(owner, rung)]) {
        expect(() => checkedEdgeKey(foreign as unknown as EdgeKey)).toThrow(StoreFailure);
      }
      expect(checkedEdgeKey(edgeKey(jobId, rung))).toBe(`proxies/${jobId}/${rung}.mp4`);
    }),
    { numRuns: 100 },
  );
});

test("no method takes a foreign key", async () => {
  const foreign = "originals/acme/film/file0001/a.mov" as unknown as EdgeKey;
  const placement = { ...(await placementOf(content(10), mib)), key: foreign };
  await expect(headEdge(bucket, foreign)).rejects.toThrow("refused");
  await expect(getEdgeRange(bucket, foreign, { offset: 0, length: 1, ifMatch: "x" })).rejects.toThrow("refused");
  await expect(removeEdge(bucket, foreign)).rejects.toThrow("refused");
  await expect(placeWholeEdge(bucket, placement)).rejects.toThrow("refused");
  expect((await bucket.list({ prefix: "originals/" })).objects).toEqual([]);
});

test.each([
  ["one digest part", 100_000, 5 * mib],
  ["several digest parts", 11 * mib + 5, 5 * mib],
])("places %s, and says what it proved", async (_name, sizeBytes, partSizeBytes) => {
  const bytes = content(sizeBytes);
  const placement = await placementOf(bytes, partSizeBytes);
  const placed = await placeWholeEdge(bucket, placement);
  expect(placed).toMatchObject({ sizeBytes, sha256: placement.sha256.composite });
  expect(await headEdge(bucket, key)).toEqual(placed);
  const object = await bucket.get(key);
  expect(object?.httpMetadata?.contentType).toBe("video/mp4");
  expect(await sha(new Uint8Array((await object?.arrayBuffer()) ?? new ArrayBuffer()))).toBe(await sha(bytes));

  const range = await getEdgeRange(bucket, key, { offset: 10, length: 5, ifMatch: placed.etag });
  expect(new Uint8Array(await new Response(range).arrayBuffer())).toEqual(bytes.slice(10, 15));
  expect(await getEdgeRange(bucket, key, { offset: 10, length: 5, ifMatch: "0" })).toBeNull();
});

test.each([
  ["one digest part", 100_000, 5 * mib],
  ["several digest parts", 11 * mib, 5 * mib],
])("shows nothing when a byte of %s differs", async (_name, sizeBytes, partSizeBytes) => {
  const placement = await placementOf(content(sizeBytes), partSizeBytes);
  const other = content(sizeBytes);
  other[sizeBytes - 1] = (other[sizeBytes - 1] ?? 0) ^ 1;
  const read: EdgePlacement["read"] = async (part) =>
    new Response(other.slice(part.from, part.from + part.sizeBytes)).body as ReadableStream<Uint8Array>;
  await expect(placeWholeEdge(bucket, { ...placement, read })).rejects.toMatchObject({ code: "CHECKSUM_MISMATCH" });
  expect(await headEdge(bucket, key)).toBeNull();
});

test("shows nothing when the source is short, breaks off, or the claim is refused", async () => {
  for (const sizeBytes of [100_000, 11 * mib]) {
    const bytes = content(sizeBytes);
    const placement = await placementOf(bytes, 5 * mib);
    const short: EdgePlacement["read"] = async (part) =>
      new Response(bytes.slice(part.from, part.from + part.sizeBytes - 1)).body as ReadableStream<Uint8Array>;
    await expect(placeWholeEdge(bucket, { ...placement, read: short })).rejects.toMatchObject({
      code: "WASABI_UNAVAILABLE",
    });
    const gone = new StoreFailure("ETAG_MISMATCH", "another version");
    await expect(placeWholeEdge(bucket, { ...placement, read: () => Promise.reject(gone) })).rejects.toBe(gone);
    const refused = new Error("stale");
    await expect(placeWholeEdge(bucket, { ...placement, claim: () => Promise.reject(refused) })).rejects.toThrow(
      "stale",
    );
    expect(await headEdge(bucket, key)).toBeNull();
  }
});
