/** Whole objects in Wasabi: head, ranged read, put, single copy, delete. ETags are bare (no quotes). */
import { codeOf } from "../../schemas/failure-policy.ts";
import type { WasabiConfig } from "./config.ts";
import { StoreFailure } from "./store-failure.ts";
import { classifyWasabiError } from "./wasabi-error.ts";
import { drop, etagOf, refusalOf, sendOrThrow, sendSigned, transferTimeoutMs } from "./wasabi-request.ts";
import { objectUrl } from "./wasabi-url.ts";

export interface ArchivedObject {
  sizeBytes: number;
  etag: string;
}

/** Inclusive, as HTTP has it. */
export interface ByteRange {
  from: number;
  to: number;
}

export interface VersionedRange extends ByteRange {
  ifMatch: string;
  signal?: AbortSignal | undefined;
}

export interface PutOptions {
  sizeBytes: number;
  contentType: string;
  ifNoneMatch?: boolean;
  signal?: AbortSignal | undefined;
}

export interface ArchivedRange {
  body: ReadableStream<Uint8Array>;
  range: ByteRange;
  totalBytes: number;
  etag: string;
}

const shortTimeoutMs = 30_000;

/**
 * @returns null when S3 says that there is no such object
 * @throws StoreFailure WASABI_UNAVAILABLE, WASABI_FORBIDDEN
 */
export async function headObject(config: WasabiConfig, key: string): Promise<ArchivedObject | null> {
  const operation = "a HEAD";
  const response = await sendSigned(config, {
    operation,
    method: "HEAD",
    url: objectUrl(config, key),
    timeoutMs: shortTimeoutMs,
  });
  if (!response.ok) {
    const failure = await explainHead(config, key, response);
    if (failure.code === "ORIGINAL_MISSING") return null;
    throw failure;
  }
  const sizeBytes = Number(response.headers.get("content-length") ?? Number.NaN);
  if (!Number.isSafeInteger(sizeBytes))
    throw new StoreFailure(codeOf("s3Answer", "no size"), "Wasabi's HEAD has no size.");
  return { sizeBytes, etag: etagOf(operation, response.headers) };
}

/**
 * A HEAD has no body: a 403 is either a refusal or a rate limit, and a 404 of a missing object looks like that of a wrong bucket
 * or address. A GET of one byte tells which.
 */
async function explainHead(config: WasabiConfig, key: string, refused: Response): Promise<StoreFailure> {
  if (refused.status !== 403 && refused.status !== 404) return refusalOf(config, "a HEAD", refused);
  const asked = await sendSigned(config, {
    operation: "a GET of one byte",
    method: "GET",
    url: objectUrl(config, key),
    headers: { range: "bytes=0-0" },
    timeoutMs: shortTimeoutMs,
  });
  if (asked.ok) {
    await drop(asked);
    return classifyWasabiError("a HEAD", { status: 503, code: null, retryAfterMs: null });
  }
  return refusalOf(config, "a HEAD", asked);
}

function rangeOf(headers: Headers): (ByteRange & { totalBytes: number }) | null {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers.get("content-range") ?? "");
  return match ? { from: Number(match[1]), to: Number(match[2]), totalBytes: Number(match[3]) } : null;
}

/**
 * Reads one range of exactly the version named. The body has no deadline; abort it through `signal`.
 * @throws StoreFailure ORIGINAL_MISSING, ETAG_MISMATCH, RANGE_NOT_SATISFIABLE, WASABI_UNAVAILABLE, WASABI_FORBIDDEN
 */
export async function getRange(config: WasabiConfig, key: string, wanted: VersionedRange): Promise<ArchivedRange> {
  const operation = "a ranged GET";
  const response = await sendOrThrow(config, {
    operation,
    method: "GET",
    url: objectUrl(config, key),
    headers: { range: `bytes=${wanted.from}-${wanted.to}`, "if-match": `"${wanted.ifMatch}"` },
    timeoutMs: shortTimeoutMs,
    signal: wanted.signal,
  });
  const answered = rangeOf(response.headers);
  const etag = etagOf(operation, response.headers);
  const exact = response.status === 206 && answered?.from === wanted.from && answered.to === wanted.to;
  if (!exact || answered === null || response.body === null || etag !== wanted.ifMatch) {
    await drop(response);
    if (etag !== wanted.ifMatch) {
      const code = codeOf("s3Answer", "another ETag than asked");
      throw new StoreFailure(code, "Wasabi served another version of the object.");
    }
    const code = codeOf("s3Answer", "another range than asked");
    throw new StoreFailure(code, `Wasabi answered ${response.status} with another range than asked.`);
  }
  return {
    body: response.body,
    range: { from: answered.from, to: answered.to },
    totalBytes: answered.totalBytes,
    etag,
  };
}

/** Writes one object of a known size. `ifNoneMatch` refuses to replace (ETAG_MISMATCH). @returns its ETag */
export async function putObject(
  config: WasabiConfig,
  key: string,
  body: ReadableStream<Uint8Array>,
  options: PutOptions,
): Promise<string> {
  const operation = "a PUT";
  const response = await sendOrThrow(config, {
    operation,
    method: "PUT",
    url: objectUrl(config, key),
    headers: { "content-type": options.contentType, ...(options.ifNoneMatch ? { "if-none-match": "*" } : {}) },
    body,
    timeoutMs: transferTimeoutMs(options.sizeBytes),
    signal: options.signal,
  });
  await drop(response);
  return etagOf(operation, response.headers);
}

/** Gone already counts as done. */
export async function deleteObject(config: WasabiConfig, key: string): Promise<void> {
  const response = await sendSigned(config, {
    operation: "a DELETE",
    method: "DELETE",
    url: objectUrl(config, key),
    timeoutMs: shortTimeoutMs,
  });
  if (!response.ok && response.status !== 404) throw await refusalOf(config, "a DELETE", response);
  await drop(response);
}
