/**
 * Brings a proxy to R2 and shows nothing of it before it is proven: every digest part is hashed while it streams, and
 * its end is held back until it matches the digest that was recorded when the bytes were first written. Memory: two
 * chunks for each part under way.
 */
import type { CompositeSha256 } from "../../schemas/checksum.ts";
import type { EdgeKey } from "../../schemas/key.ts";
import { type ExpectedPart, moveDigested, type PartRange, partRanges, verified } from "./part-digest.ts";
import { askR2, checkedEdgeKey, type EdgeObject, edgeObjectOf, edgeOptions, headEdge } from "./r2.ts";
import { StoreFailure } from "./store-failure.ts";

const shortTimeoutMs = 30_000;
const completeTimeoutMs = 2 * 60_000;
const stallMs = 30_000;
const transferTimeoutMs = (sizeBytes: number) => 60_000 + Math.ceil(sizeBytes / 256);

/** Opens a range of the source, pinned to the verified version. */
type ReadSource = (range: PartRange) => Promise<ReadableStream<Uint8Array>>;

export interface EdgePlacement {
  key: EdgeKey;
  sizeBytes: number;
  sha256: CompositeSha256;
  /** Of every digest part in order, proven to add up to `sha256` (see provePartList). */
  partSha256: readonly string[];
  read: ReadSource;
  /** Asked once, just before the copy becomes visible. Throws to stop: nothing of it stays then. */
  claim(): Promise<void>;
  signal: AbortSignal;
}

/** The metadata is fixed now, so what the completed object says of itself is what its parts were compared with. */
export async function openEdgeUpload(bucket: R2Bucket, key: EdgeKey, sha256: CompositeSha256): Promise<string> {
  const checked = checkedEdgeKey(key);
  const upload = await askR2("a new upload", shortTimeoutMs, () =>
    bucket.createMultipartUpload(checked, edgeOptions(sha256)),
  );
  return upload.uploadId;
}

export interface EdgePartMove {
  key: EdgeKey;
  uploadId: string;
  part: PartRange;
  digestPartBytes: number;
  /** Of the digest parts that this part holds, in order. */
  expectedSha256: readonly string[];
  read: ReadSource;
  /** Ends the move early; its reason is thrown, and nothing is stored. */
  signal: AbortSignal;
}

export interface EdgePart {
  n: number;
  /** Changes when the same part is moved again: only the last one completes. */
  etag: string;
}

/**
 * Moves one part, which is stored only if every digest in it matches. Moving it again replaces it.
 * @throws StoreFailure CHECKSUM_MISMATCH, UPLOAD_LOST (retryable: a new upload must begin), WASABI_UNAVAILABLE for a
 * source that is silent, short or long, R2_UNAVAILABLE; or what `read` throws, or the signal's reason
 */
export async function moveEdgePart(bucket: R2Bucket, move: EdgePartMove): Promise<EdgePart> {
  const { part, signal, uploadId } = move;
  const key = checkedEdgeKey(move.key);
  const expected = expectedParts(part, move.digestPartBytes, move.expectedSha256);
  signal.throwIfAborted();
  const stream = verified(await move.read(part), expected, { stallMs, blame: "WASABI_UNAVAILABLE", signal });
  const upload = bucket.resumeMultipartUpload(key, uploadId);
  const { sent } = await moveDigested(stream, (body) =>
    askR2("a part", transferTimeoutMs(part.sizeBytes), () => upload.uploadPart(part.n, body)),
  );
  return { n: sent.partNumber, etag: sent.etag };
}

export interface EdgeCompletion {
  key: EdgeKey;
  uploadId: string;
  /** All of them, in any order. */
  parts: readonly EdgePart[];
  sizeBytes: number;
  sha256: CompositeSha256;
}

/**
 * Makes the object visible. Where the upload is gone the object decides: an earlier delivery may have completed it.
 * @throws StoreFailure UPLOAD_LOST (retryable: a new upload must begin) also when a part is not the one that was named,
 * SIZE_MISMATCH, R2_UNAVAILABLE
 */
export async function completeEdgeUpload(bucket: R2Bucket, completion: EdgeCompletion): Promise<EdgeObject> {
  const { uploadId, sizeBytes, sha256 } = completion;
  const key = checkedEdgeKey(completion.key);
  const parts = completion.parts
    .map(({ n, etag }) => ({ partNumber: n, etag }))
    .sort((a, b) => a.partNumber - b.partNumber);
  const upload = bucket.resumeMultipartUpload(key, uploadId);
  try {
    const placed = await askR2("a completion", completeTimeoutMs, () => upload.complete(parts));
    return ofSize(edgeObjectOf(placed), sizeBytes);
  } catch (error) {
    if (!(error instanceof StoreFailure && error.code === "UPLOAD_LOST")) throw error;
    const present = await headEdge(bucket, key);
    if (present?.sizeBytes === sizeBytes && present.sha256 === sha256.composite) return present;
    throw error;
  }
}

/** Nobody may write into the upload any more. Gone already counts as done. */
export async function abortEdgeUpload(bucket: R2Bucket, key: EdgeKey, uploadId: string): Promise<void> {
  const upload = bucket.resumeMultipartUpload(checkedEdgeKey(key), uploadId);
  try {
    await askR2("an abortion", shortTimeoutMs, () => upload.abort());
  } catch (error) {
    if (!(error instanceof StoreFailure && error.code === "UPLOAD_LOST")) throw error;
  }
}

/**
 * Places an object of a single transfer part with one put, which shows only if every digest matches.
 * @throws StoreFailure CHECKSUM_MISMATCH, SIZE_MISMATCH, WASABI_UNAVAILABLE, R2_UNAVAILABLE; or what `read` and `claim`
 * throw, or the signal's reason
 */
export async function placeWholeEdge(bucket: R2Bucket, placement: EdgePlacement): Promise<EdgeObject> {
  const { sizeBytes, sha256, signal } = placement;
  const key = checkedEdgeKey(placement.key);
  const whole = { n: 1, from: 0, sizeBytes };
  const expected = expectedParts(whole, sha256.partSizeBytes, placement.partSha256);
  signal.throwIfAborted();
  const source = await placement.read(whole);
  await claimed(placement, source);
  const stream = verified(source, expected, { stallMs, blame: "WASABI_UNAVAILABLE", signal });
  const [only] = expected;
  // Where one digest is that of the whole, R2 compares it as well.
  const proof = expected.length === 1 && only !== undefined ? { sha256: only.sha256 } : {};
  const { sent } = await moveDigested(stream, (body) =>
    askR2("a put", transferTimeoutMs(sizeBytes), () => bucket.put(key, body, { ...edgeOptions(sha256), ...proof })),
  );
  return ofSize(edgeObjectOf(sent), sizeBytes);
}

/** A source that nobody will read holds a connection until it is let go. */
async function claimed({ claim }: EdgePlacement, source: ReadableStream<Uint8Array>): Promise<void> {
  try {
    await claim();
  } catch (error) {
    await source.cancel(error).catch(() => undefined);
    throw error;
  }
}

/** Names each digest part that lies in a part of the object. */
function expectedParts(part: PartRange, digestPartBytes: number, sha256: readonly string[]): ExpectedPart[] {
  const ranges = partRanges(part.sizeBytes, digestPartBytes);
  const firstDigest = Math.floor(part.from / digestPartBytes);
  const expected = ranges.flatMap(({ n, sizeBytes }) => {
    const digest = sha256[n - 1];
    return digest === undefined ? [] : [{ n: firstDigest + n, sizeBytes, sha256: digest }];
  });
  if (expected.length === ranges.length && sha256.length === ranges.length) return expected;
  throw new StoreFailure("CHECKSUM_MISMATCH", "The recorded parts do not add up to the recorded size.");
}

function ofSize(placed: EdgeObject, sizeBytes: number): EdgeObject {
  if (placed.sizeBytes === sizeBytes) return placed;
  throw new StoreFailure("SIZE_MISMATCH", "R2 holds another size than was sent.", { retryable: true });
}
