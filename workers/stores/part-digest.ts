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

export interface DigestedStream<Found = PartHashes> {
  /** Of exactly the announced length; ends only once all of it is proven. */
  body: ReadableStream<Uint8Array>;
  /** @throws StoreFailure with the code `blame` when the source fell silent, broke off, was short or was long */
  finished: Promise<Found>;
  /** Stops reading and fails the body; harmless once it has ended. */
  cancel(reason: unknown): void;
}

interface StreamOptions {
  /** How long the source may be silent. */
  stallMs: number;
  /** What a fault of the source is called. */
  blame: FailureCode;
  /** Ends it early; its reason is what is thrown then. */
  signal?: AbortSignal;
  also?: { write(chunk: Uint8Array): Promise<void> } | undefined;
}

/**
 * Hashes a stream while it flows into its destination, a few chunks at a time.
 * `also` takes the same bytes, for a digest that spans several parts.
 */
export function digested(
  source: ReadableStream<Uint8Array>,
  sizeBytes: number,
  options: StreamOptions,
): DigestedStream {
  const part = { sizeBytes, hasher: () => hasherOf("MD5", "SHA-256"), prove: () => undefined };
  return flowing(source, [part], options, ([found]) => ({ md5: found?.[0] ?? "", sha256: found?.[1] ?? "" }));
}

/** A part of a stream, and what was recorded of it when it was written. */
export interface ExpectedPart {
  n: number;
  sizeBytes: number;
  sha256: string;
}

/**
 * Compares a stream with the recorded digests while it flows, one after the other. The last chunk of each part is held
 * back until its digest is the expected one, so that a destination which wants the whole length never gets wrong bytes
 * whole. `finished` also throws StoreFailure CHECKSUM_MISMATCH.
 */
export function verified(
  source: ReadableStream<Uint8Array>,
  expected: readonly ExpectedPart[],
  options: Omit<StreamOptions, "also">,
): DigestedStream<void> {
  const parts = expected.map(({ n, sizeBytes, sha256 }) => ({
    sizeBytes,
    hasher: () => hasherOf("SHA-256"),
    prove([found]: string[]) {
      if (found === sha256) return;
      throw new StoreFailure("CHECKSUM_MISMATCH", `Part ${n} of the source is not the part that was written.`);
    },
  }));
  return flowing(source, parts, options, () => undefined);
}

interface FlowingPart {
  sizeBytes: number;
  hasher(): Hasher;
  /** Throws when these are not its digests. */
  prove(found: string[]): void;
}

function flowing<Found>(
  source: ReadableStream<Uint8Array>,
  parts: readonly FlowingPart[],
  options: StreamOptions,
  outcome: (found: string[][]) => Found,
): DigestedStream<Found> {
  const sizeBytes = parts.reduce((sum, part) => sum + part.sizeBytes, 0);
  const { readable, writable } = new FixedLengthStream(sizeBytes);
  const cancelled = new AbortController();
  const signal = options.signal ? AbortSignal.any([cancelled.signal, options.signal]) : cancelled.signal;
  const finished = pump(source, writable.getWriter(), parts, { ...options, signal }).then(outcome);
  // Looked at by moveDigested; marked as handled because the destination may fail first.
  finished.catch(() => undefined);
  return { body: readable, finished, cancel: (reason) => cancelled.abort(reason) };
}

interface Hasher {
  write(chunk: Uint8Array): Promise<unknown>;
  /** In hex, in the order of the algorithms. */
  end(): Promise<string[]>;
  abort(reason: unknown): void;
}

function hasherOf(...algorithms: ("MD5" | "SHA-256")[]): Hasher {
  const streams = algorithms.map((algorithm) => new crypto.DigestStream(algorithm));
  const writers = streams.map((stream) => stream.getWriter());
  return {
    write: (chunk) => Promise.all(writers.map((writer) => writer.write(chunk))),
    async end() {
      await Promise.all(writers.map((writer) => writer.close()));
      return Promise.all(streams.map(async (stream) => hexOf(await stream.digest)));
    },
    abort(reason) {
      for (const { digest } of streams) digest.catch(() => undefined);
      for (const writer of writers) writer.abort(reason).catch(() => undefined);
    },
  };
}

/** Whoever reads the body has given up on it, and can say why better than its stream can. */
class DestinationLost extends Error {
  override readonly name = "DestinationLost";
}

/** Reads a chunk while the one before is written: two chunks are held at a time, however long the stream is. */
async function pump(
  source: ReadableStream<Uint8Array>,
  destination: WritableStreamDefaultWriter<Uint8Array>,
  parts: readonly FlowingPart[],
  { stallMs, blame, also, signal }: StreamOptions & { signal: AbortSignal },
): Promise<string[][]> {
  const reader = chunkReader(source);
  const fault = (message: string, cause?: unknown) => new StoreFailure(blame, message, { cause });
  const broken = (cause: unknown): never => {
    throw fault("The source broke off while it was read.", cause);
  };
  const next = async (mostBytes: number): Promise<Uint8Array | null> => {
    for (;;) {
      const read = reader.next(mostBytes).catch(broken);
      const chunk = await within(read, stallMs, () => fault("The source fell silent."));
      signal.throwIfAborted();
      if (chunk === null || chunk.length > 0) return chunk;
    }
  };
  let writing: Promise<unknown> = Promise.resolve();
  const write = async (chunk: Uint8Array) => {
    await writing;
    const written = destination.write(chunk).catch(lost);
    writing = Promise.all([written, also?.write(chunk)]).then(() => reader.release(chunk));
    writing.catch(() => undefined);
  };
  let hasher: Hasher | null = null;
  const abort = () => {
    void destination.abort(signal.reason).catch(() => undefined);
    void reader.cancel(signal.reason).catch(() => undefined);
  };
  signal.addEventListener("abort", abort, { once: true });
  try {
    signal.throwIfAborted();
    const found: string[][] = [];
    for (const part of parts) {
      hasher = part.hasher();
      let held: Uint8Array | null = null;
      for (let leftBytes = part.sizeBytes; leftBytes > 0; leftBytes -= held.length) {
        if (held !== null) await write(held);
        held = await next(leftBytes);
        if (held === null) throw fault("The source ended early.");
        await hasher.write(held);
      }
      if (part === parts.at(-1) && (await next(1)) !== null) throw fault("The source sent more than it announced.");
      const digests = await hasher.end();
      part.prove(digests);
      found.push(digests);
      if (held !== null) await write(held);
    }
    await writing;
    await destination.close().catch(lost);
    return found;
  } catch (error) {
    const reason = signal.aborted ? signal.reason : error;
    hasher?.abort(reason);
    await Promise.allSettled([destination.abort(reason), reader.cancel(reason)]);
    throw reason;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

const lost = (cause: unknown): never => {
  throw new DestinationLost("The destination stopped reading.", { cause });
};

/** Sends a stream through its digests into `send`; a fault of the source is told as such, not as the destination's. */
export async function moveDigested<T, Found>(
  stream: DigestedStream<Found>,
  send: (body: ReadableStream<Uint8Array>) => Promise<T>,
): Promise<{ sent: T; hashes: Found }> {
  const sending = send(stream.body).catch((error: unknown) => {
    stream.cancel(error);
    throw error;
  });
  const [sent, hashes] = await Promise.allSettled([sending, stream.finished]);
  if (hashes.status === "rejected" && !(hashes.reason instanceof DestinationLost)) throw hashes.reason;
  if (sent.status === "rejected") throw sent.reason;
  if (hashes.status === "rejected") throw hashes.reason;
  return { sent: sent.value, hashes: hashes.value };
}
