/** Digests of parts and of whole objects: composite SHA-256, S3's multipart ETag, and a stream that is hashed in passing. */
import type { CompositeSha256, PartDigest } from "../../schemas/checksum.ts";
import type { FailureCode } from "../../schemas/failure.ts";
import { chunkReader } from "./chunk-reader.ts";
import { within } from "./deadline.ts";
import { StoreFailure } from "./store-failure.ts";

export interface PartHashes {
  md5: string;
  sha256: string;
}

export function hexOf(bytes: ArrayBuffer | Uint8Array): string {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function joined(digests: readonly string[]): Uint8Array<ArrayBuffer> {
  const hex = digests.join("");
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** SHA-256 over the raw part digests in order, also for a single part. */
export async function compositeOf(partSha256: readonly string[]): Promise<string> {
  return hexOf(await crypto.subtle.digest("SHA-256", joined(partSha256)));
}

/** The ETag that S3 gives a completed multipart upload: MD5 over the raw part MD5s, and their number. */
export async function multipartEtag(partMd5: readonly string[]): Promise<string> {
  return `${hexOf(await crypto.subtle.digest("MD5", joined(partMd5)))}-${partMd5.length}`;
}

/** ETags are kept and compared without quotes and without the weak mark. */
export function bareEtag(etag: string): string {
  return etag.replace(/^W\//, "").replace(/^"(.*)"$/, "$1");
}

export interface PartRange {
  n: number;
  from: number;
  sizeBytes: number;
}

/** Equal parts but the last; an empty object has one empty part. */
export function partRanges(sizeBytes: number, partSizeBytes: number): PartRange[] {
  const count = Math.max(1, Math.ceil(sizeBytes / partSizeBytes));
  return Array.from({ length: count }, (_, index) => ({
    n: index + 1,
    from: index * partSizeBytes,
    sizeBytes: Math.min(partSizeBytes, sizeBytes - index * partSizeBytes),
  }));
}

/** @throws StoreFailure CHECKSUM_MISMATCH when the parts are not those of an object of this size and digest */
export async function provePartList(parts: readonly PartDigest[], sizeBytes: number, sha256: CompositeSha256) {
  const expected = partRanges(sizeBytes, sha256.partSizeBytes);
  const fits =
    parts.length === expected.length &&
    parts.every((part, index) => part.n === index + 1 && part.sizeBytes === expected[index]?.sizeBytes);
  if (!fits) throw new StoreFailure("CHECKSUM_MISMATCH", "The recorded parts do not add up to the recorded size.");
  if ((await compositeOf(parts.map((part) => part.sha256))) !== sha256.composite) {
    throw new StoreFailure("CHECKSUM_MISMATCH", "The recorded parts do not add up to the recorded checksum.");
  }
}

export interface DigestedStream {
  /** Of exactly the announced length. */
  body: ReadableStream<Uint8Array>;
  /** @throws StoreFailure with the code `blame` when the source fell silent, broke off, was short or was long */
  finished: Promise<PartHashes>;
  /** Stops reading and fails the body; harmless once it has ended. */
  cancel(reason: unknown): void;
}

interface StreamOptions {
  /** How long the source may be silent. */
  stallMs: number;
  /** What a fault of the source is called. */
  blame: FailureCode;
  also?: WritableStreamDefaultWriter<Uint8Array> | undefined;
}

/**
 * Hashes a stream while it flows into its destination, one chunk at a time.
 * `also` takes the same bytes, for a digest that spans several parts.
 */
export function digested(
  source: ReadableStream<Uint8Array>,
  sizeBytes: number,
  options: StreamOptions,
): DigestedStream {
  const { readable, writable } = new FixedLengthStream(sizeBytes);
  const cancelled = new AbortController();
  const pumping = pump(source, writable.getWriter(), sizeBytes, { ...options, signal: cancelled.signal });
  // Looked at by moveDigested; marked as handled because the destination may fail first.
  pumping.catch(() => undefined);
  return { body: readable, finished: pumping, cancel: (reason) => cancelled.abort(reason) };
}

async function pump(
  source: ReadableStream<Uint8Array>,
  destination: WritableStreamDefaultWriter<Uint8Array>,
  sizeBytes: number,
  { stallMs, blame, also, signal }: StreamOptions & { signal: AbortSignal },
): Promise<PartHashes> {
  const reader = chunkReader(source);
  const md5 = new crypto.DigestStream("MD5");
  const sha256 = new crypto.DigestStream("SHA-256");
  const hashers = [md5.getWriter(), sha256.getWriter()];
  const fault = (message: string, cause?: unknown) => new StoreFailure(blame, message, { cause });
  const broken = (cause: unknown): never => {
    throw fault("The source broke off while it was read.", cause);
  };
  const abort = () => {
    void destination.abort(signal.reason).catch(() => undefined);
    void reader.cancel(signal.reason).catch(() => undefined);
  };
  signal.addEventListener("abort", abort, { once: true });
  try {
    let passedBytes = 0;
    for (;;) {
      const chunk = await within(reader.next().catch(broken), stallMs, () => fault("The source fell silent."));
      if (signal.aborted) throw signal.reason;
      if (chunk === null) break;
      passedBytes += chunk.length;
      if (passedBytes > sizeBytes) throw fault("The source sent more than it announced.");
      await Promise.all([destination, ...hashers, ...(also ? [also] : [])].map((writer) => writer.write(chunk)));
    }
    if (passedBytes < sizeBytes) throw fault("The source ended early.");
    await Promise.all([destination, ...hashers].map((writer) => writer.close()));
    return { md5: hexOf(await md5.digest), sha256: hexOf(await sha256.digest) };
  } catch (error) {
    for (const digest of [md5.digest, sha256.digest]) digest.catch(() => undefined);
    await Promise.allSettled([
      destination.abort(error),
      reader.cancel(error),
      ...hashers.map((writer) => writer.abort(error)),
    ]);
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Sends a stream through its digests into `send`; a fault of the source is told as such, not as the destination's. */
export async function moveDigested<T>(
  stream: DigestedStream,
  send: (body: ReadableStream<Uint8Array>) => Promise<T>,
): Promise<{ sent: T; hashes: PartHashes }> {
  const sending = send(stream.body).catch((error: unknown) => {
    stream.cancel(error);
    throw error;
  });
  const [sent, hashes] = await Promise.allSettled([sending, stream.finished]);
  if (hashes.status === "rejected" && hashes.reason instanceof StoreFailure) throw hashes.reason;
  if (sent.status === "rejected") throw sent.reason;
  if (hashes.status === "rejected") throw hashes.reason;
  return { sent: sent.value, hashes: hashes.value };
}
