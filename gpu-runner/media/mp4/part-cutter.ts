/** Fills buffers of one part's size from a byte stream and hands each over as it is full. */
import type { PartBuffers } from "./part-buffer.ts";

export type Part = {
  /** From 1. */
  n: number;
  bytes: Uint8Array;
  /** Called once, when the bytes are needed no more: their memory is then used again. Not called, they stay as they are. */
  release: () => void;
};

export class PartCutter {
  private buffer: Uint8Array | null = null;
  private filled = 0;
  private n: number;
  private readonly partSizeBytes: number;
  private readonly buffers: PartBuffers;
  private readonly emit: (part: Part) => Promise<void>;

  constructor(firstPart: number, partSizeBytes: number, buffers: PartBuffers, emit: (part: Part) => Promise<void>) {
    this.n = firstPart;
    this.partSizeBytes = partSizeBytes;
    this.buffers = buffers;
    this.emit = emit;
  }

  /** Resolves when there is room again. The bytes are copied. */
  async write(bytes: Uint8Array): Promise<void> {
    let rest = bytes;
    while (rest.length > 0) {
      this.buffer ??= this.buffers.take(this.partSizeBytes);
      const taken = rest.subarray(0, this.partSizeBytes - this.filled);
      this.buffer.set(taken, this.filled);
      this.filled += taken.length;
      rest = rest.subarray(taken.length);
      if (this.filled === this.partSizeBytes) await this.handOver(this.buffer);
    }
  }

  /** Hands over what is left, which may be a short last part. */
  async end(): Promise<void> {
    if (this.buffer !== null) await this.handOver(this.buffer);
    this.buffers.endStream();
  }

  private async handOver(buffer: Uint8Array): Promise<void> {
    const bytes = buffer.subarray(0, this.filled);
    this.buffer = null;
    this.filled = 0;
    await this.emit({ n: this.n++, bytes, release: () => this.buffers.giveBack(buffer) });
  }
}
