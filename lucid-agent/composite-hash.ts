/** The composite SHA-256 of bytes as they pass: the SHA-256 over the raw digests of their parts, in constant memory. */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { CompositeSha256 } from "../schemas/checksum.ts";

export class CompositeHash {
  readonly #partSizeBytes: number;
  readonly #composite = createHash("sha256");
  #part = createHash("sha256");
  #inPart = 0;
  #parts = 0;
  #position = 0;

  constructor(partSizeBytes: number) {
    this.#partSizeBytes = partSizeBytes;
  }

  /** Bytes taken so far. */
  get position(): number {
    return this.#position;
  }

  update(bytes: Uint8Array): void {
    for (let offset = 0; offset < bytes.length; ) {
      const piece = bytes.subarray(offset, offset + this.#partSizeBytes - this.#inPart);
      this.#part.update(piece);
      this.#inPart += piece.length;
      offset += piece.length;
      if (this.#inPart === this.#partSizeBytes) this.#endPart();
    }
    this.#position += bytes.length;
  }

  #endPart(): void {
    this.#composite.update(this.#part.digest());
    this.#part = createHash("sha256");
    this.#inPart = 0;
    this.#parts += 1;
  }

  /** Ends the hash: nothing may be taken afterwards. */
  digest(): Pick<CompositeSha256, "parts" | "composite"> {
    if (this.#inPart > 0) this.#endPart();
    return { parts: this.#parts, composite: this.#composite.digest("hex") };
  }
}

const readBytes = 1024 * 1024;

/** Takes a file's bytes from the hash's position on, up to `endBytes` or the file's end. */
export async function hashFile(
  handle: FileHandle,
  hash: CompositeHash,
  endBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const buffer = Buffer.allocUnsafe(readBytes);
  while (hash.position < endBytes) {
    signal.throwIfAborted();
    const length = Math.min(buffer.length, endBytes - hash.position);
    const { bytesRead } = await handle.read(buffer, 0, length, hash.position);
    if (bytesRead === 0) return;
    hash.update(buffer.subarray(0, bytesRead));
  }
}
