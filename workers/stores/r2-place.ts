/**
 * Brings a proxy to R2 and shows nothing of it before it is proven: each part is hashed while it streams and compared
 * with the digest that was recorded when the bytes were first written. Memory: a few chunks for each part under way.
 */
import type { CompositeSha256 } from "../../schemas/checksum.ts";
import type { EdgeKey } from "../../schemas/key.ts";
import { digested, moveDigested, type PartRange, partRanges } from "./part-digest.ts";
import { askR2, checkedEdgeKey, type EdgeObject, edgeObjectOf, edgeOptions } from "./r2.ts";
import { StoreFailure } from "./store-failure.ts";

const shortTimeoutMs = 30_000;
const completeTimeoutMs = 2 * 60_000;
const partsAtOnce = 3;
const stallMs = 30_000;
/** R2 takes up to 5 GiB in one put; above one part we use multipart anyway. */
const transferTimeoutMs = (sizeBytes: number) => 60_000 + Math.ceil(sizeBytes / 256);

export interface EdgePlacement {
  key: EdgeKey;
  sizeBytes: number;
  sha256: CompositeSha256;
  /** Of every part in order, proven to add up to `sha256` (see provePartList). */
  partSha256: readonly string[];
  /** Opens one part of the source, pinned to the verified version. */
  read(part: PartRange): Promise<ReadableStream<Uint8Array>>;
  /** Asked once, just before the copy becomes visible. Throws to stop: nothing of it stays then. */
  claim(): Promise<void>;
  signal: AbortSignal;
}

/** @throws StoreFailure CHECKSUM_MISMATCH, SIZE_MISMATCH, R2_UNAVAILABLE, or what `read` and `claim` throw */
export async function placeEdge(bucket: R2Bucket, placement: EdgePlacement): Promise<EdgeObject> {
  const key = checkedEdgeKey(placement.key);
  const parts = partRanges(placement.sizeBytes, placement.sha256.partSizeBytes);
  if (parts.length !== placement.partSha256.length) {
    throw new StoreFailure("CHECKSUM_MISMATCH", "The recorded parts do not add up to the recorded size.");
  }
  const [whole] = parts;
  const placed =
    parts.length === 1 && whole !== undefined
      ? await placeWhole(bucket, key, whole, placement)
      : await placeParts(bucket, key, parts, placement);
  if (placed.sizeBytes !== placement.sizeBytes) {
    throw new StoreFailure("SIZE_MISMATCH", "R2 holds another size than was sent.", { retryable: true });
  }
  return placed;
}

/** R2 itself compares the SHA-256 and keeps nothing that differs. */
async function placeWhole(bucket: R2Bucket, key: EdgeKey, part: PartRange, placement: EdgePlacement) {
  const [sha256] = placement.partSha256;
  if (sha256 === undefined) throw new StoreFailure("CHECKSUM_MISMATCH", "The rendition has no recorded digest.");
  const source = await placement.read(part);
  await placement.claim();
  const stream = digested(source, part.sizeBytes, { stallMs, blame: "WASABI_UNAVAILABLE" });
  const { sent } = await moveDigested(stream, (body) =>
    askR2("a put", transferTimeoutMs(part.sizeBytes), () =>
      bucket.put(key, body, { ...edgeOptions(placement.sha256), sha256 }),
    ),
  );
  return edgeObjectOf(sent);
}

async function placeParts(bucket: R2Bucket, key: EdgeKey, parts: PartRange[], placement: EdgePlacement) {
  const options = edgeOptions(placement.sha256);
  const upload = await askR2("a new upload", shortTimeoutMs, () => bucket.createMultipartUpload(key, options));
  try {
    const uploaded = await sendParts(upload, parts, placement);
    await placement.claim();
    return edgeObjectOf(await askR2("a completion", completeTimeoutMs, () => upload.complete(uploaded)));
  } catch (error) {
    await askR2("an abortion", shortTimeoutMs, () => upload.abort()).catch(() => undefined);
    throw error;
  }
}

async function sendParts(upload: R2MultipartUpload, parts: PartRange[], placement: EdgePlacement) {
  const waiting = [...parts];
  const uploaded: R2UploadedPart[] = [];
  const stopped = new AbortController();
  const signal = AbortSignal.any([stopped.signal, placement.signal]);
  const worker = async () => {
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
      signal.throwIfAborted();
      uploaded.push(await sendPart(upload, part, placement));
    }
  };
  const workers = Array.from({ length: Math.min(partsAtOnce, parts.length) }, worker);
  try {
    await Promise.all(workers);
  } catch (error) {
    stopped.abort(error);
    // An upload is aborted only when nobody writes into it any more.
    await Promise.allSettled(workers);
    throw error;
  }
  return uploaded.sort((a, b) => a.partNumber - b.partNumber);
}

async function sendPart(upload: R2MultipartUpload, part: PartRange, placement: EdgePlacement): Promise<R2UploadedPart> {
  const source = await placement.read(part);
  const stream = digested(source, part.sizeBytes, { stallMs, blame: "WASABI_UNAVAILABLE" });
  const { sent, hashes } = await moveDigested(stream, (body) =>
    askR2("a part", transferTimeoutMs(part.sizeBytes), () => upload.uploadPart(part.n, body)),
  );
  if (hashes.sha256 !== placement.partSha256[part.n - 1]) {
    throw new StoreFailure("CHECKSUM_MISMATCH", `Part ${part.n} in Wasabi is not the part that was written.`);
  }
  return sent;
}
