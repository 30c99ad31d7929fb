/**
 * The edge tier: proxies on R2. Every method takes an `EdgeKey` and checks it again at run time, so that neither an
 * original nor any other object of the archive can be put here.
 */
import type { CompositeSha256 } from "../../schemas/checksum.ts";
import { codeOf, judged } from "../../schemas/failure-policy.ts";
import { EdgeKey } from "../../schemas/key.ts";
import { within } from "./deadline.ts";
import { StoreFailure } from "./store-failure.ts";

export interface EdgeObject {
  sizeBytes: number;
  etag: string;
  /** Composite SHA-256 that was proven when it was placed; null on an object that something else has put. */
  sha256: string | null;
}

const shortTimeoutMs = 30_000;

/** @throws StoreFailure INTERNAL for anything that is not the R2 key of a proxy */
export function checkedEdgeKey(key: EdgeKey): EdgeKey {
  const parsed = EdgeKey.safeParse(key);
  if (parsed.success) return parsed.data;
  throw new StoreFailure("INTERNAL", "Only proxies may be kept on R2: the key is refused.", { retryable: false });
}

/** R2 numbers its errors in the message: `put: … (10037)`. */
function r2Failure(operation: string, cause: unknown): StoreFailure {
  if (cause instanceof StoreFailure) return cause;
  const code = /\((\d{5})\)/.exec(cause instanceof Error ? cause.message : "")?.[1] ?? null;
  const told = `R2 refused ${operation}${code === null ? "" : ` (${code})`}.`;
  return new StoreFailure(judged("r2", code), told, { cause });
}

export async function askR2<T>(operation: string, timeoutMs: number, work: () => Promise<T>): Promise<T> {
  try {
    return await within(
      work(),
      timeoutMs,
      () => new StoreFailure(codeOf("silence", "r2"), `R2 did not answer to ${operation} in time.`),
    );
  } catch (cause) {
    throw r2Failure(operation, cause);
  }
}

export function edgeObjectOf(object: R2Object): EdgeObject {
  return { sizeBytes: object.size, etag: object.etag, sha256: object.customMetadata?.sha256 ?? null };
}

/** What is stored beside the bytes: enough to prove the copy without reading it, and to serve it. */
export function edgeOptions(sha256: CompositeSha256) {
  return {
    customMetadata: { sha256: sha256.composite, partSizeBytes: String(sha256.partSizeBytes) },
    httpMetadata: { contentType: "video/mp4", cacheControl: "private, max-age=31536000, immutable" },
  } satisfies R2PutOptions;
}

export async function headEdge(bucket: R2Bucket, key: EdgeKey): Promise<EdgeObject | null> {
  const checked = checkedEdgeKey(key);
  const object = await askR2("a head", shortTimeoutMs, () => bucket.head(checked));
  return object === null ? null : edgeObjectOf(object);
}

/**
 * Reads a range of exactly the version named.
 * @returns null when there is no such object, or it is another version
 */
export async function getEdgeRange(
  bucket: R2Bucket,
  key: EdgeKey,
  wanted: { offset: number; length: number; ifMatch: string },
): Promise<ReadableStream<Uint8Array> | null> {
  const checked = checkedEdgeKey(key);
  const { offset, length, ifMatch } = wanted;
  const options = { range: { offset, length }, onlyIf: { etagMatches: ifMatch } };
  const object = await askR2("a get", shortTimeoutMs, () => bucket.get(checked, options));
  return object !== null && "body" in object ? object.body : null;
}

/** Gone already counts as done. */
export async function removeEdge(bucket: R2Bucket, key: EdgeKey): Promise<void> {
  const checked = checkedEdgeKey(key);
  await askR2("a delete", shortTimeoutMs, () => bucket.delete(checked));
}
