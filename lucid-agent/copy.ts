/** Copies the source into an open file, hashing what lands and going on after cuts from where it stopped. */
import type { FileHandle } from "node:fs/promises";
import type { CompositeSha256 } from "../schemas/checksum.ts";
import { CompositeHash, hashFile } from "./composite-hash.ts";
import { AgentFailure } from "./failure.ts";
import { readSource, SourceInterrupted, type SourceTimeouts } from "./source.ts";

export interface CopyWork {
  /** Read again at every connection: a fresh URL may have come meanwhile. */
  source: { url: string; etag?: string | undefined };
  sizeBytes: number;
  sha256: CompositeSha256;
}

export interface CopySettings {
  timeouts: SourceTimeouts;
  /** Interruptions in a row, without a stride of bytes between them. */
  maxTries: number;
  backoff: { baseMs: number; maxMs: number };
}

export interface CopyPorts {
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Fraction in [0, 1). */
  random(): number;
  onProgress(bytesWritten: number): void;
  /** Called after every stride; throws to stop. */
  onStride(): Promise<void>;
}

const strideBytes = 8 * 1024 * 1024;
// Bytes left by a crash may be wrong; fetched whole, they may not be wrong twice.
const maxPasses = 2;

/**
 * Leaves `handle` holding exactly the verified bytes, not yet synced. Begins with what it already holds.
 * @throws AgentFailure the signal's reason when aborted
 */
export async function copySource(
  work: CopyWork,
  handle: FileHandle,
  settings: CopySettings,
  ports: CopyPorts,
  signal: AbortSignal,
): Promise<void> {
  for (let pass = 1; pass <= maxPasses; pass += 1) {
    const hash = new CompositeHash(work.sha256.partSizeBytes);
    await hashFile(handle, hash, work.sizeBytes, signal);
    await handle.truncate(hash.position);
    ports.onProgress(hash.position);
    await fill(work, handle, settings, ports, hash, signal);
    const { size } = await handle.stat();
    if (size !== work.sizeBytes)
      throw new AgentFailure("SIZE_MISMATCH", `${size} bytes landed, not ${work.sizeBytes}.`);
    if (hash.digest().composite === work.sha256.composite) return;
    await handle.truncate(0);
  }
  throw new AgentFailure("CHECKSUM_MISMATCH", "The SHA-256 of what the source sent is not the recorded one.");
}

async function fill(
  work: CopyWork,
  handle: FileHandle,
  settings: CopySettings,
  ports: CopyPorts,
  hash: CompositeHash,
  signal: AbortSignal,
): Promise<void> {
  let tries = 0;
  while (hash.position < work.sizeBytes) {
    const before = hash.position;
    try {
      await copyOnce(work, handle, settings, ports, hash, signal);
    } catch (error) {
      if (!(error instanceof SourceInterrupted)) throw error;
      tries = hash.position - before >= strideBytes ? 1 : tries + 1;
      if (tries >= settings.maxTries) {
        throw new AgentFailure("SOURCE_UNREADABLE", `Gave up on the source: ${error.message}.`, error);
      }
      const ceiling = Math.min(settings.backoff.baseMs * 2 ** (tries - 1), settings.backoff.maxMs);
      await ports.sleep(Math.max(error.retryAfterMs, ceiling * (0.5 + ports.random() / 2)), signal);
    }
  }
}

async function copyOnce(
  work: CopyWork,
  handle: FileHandle,
  settings: CopySettings,
  ports: CopyPorts,
  hash: CompositeHash,
  signal: AbortSignal,
): Promise<void> {
  const range = { url: work.source.url, etag: work.source.etag, from: hash.position, sizeBytes: work.sizeBytes };
  let nextStride = hash.position + strideBytes;
  for await (const chunk of readSource(range, settings.timeouts, signal)) {
    await writeWhole(handle, chunk, hash.position);
    hash.update(chunk);
    ports.onProgress(hash.position);
    if (hash.position < nextStride) continue;
    nextStride = hash.position + strideBytes;
    await ports.onStride();
  }
}

async function writeWhole(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    written += (await handle.write(bytes, written, bytes.length - written, position + written)).bytesWritten;
  }
}
