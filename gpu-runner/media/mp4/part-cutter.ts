/** Fills buffers of one part's size from a byte stream and hands each over as it is full. */

export type Part = { /** From 1. */ n: number; bytes: Uint8Array };

export class PartCutter {
  private buffer: Uint8Array;
  private filled = 0;
  private n: number;
  private readonly partSizeBytes: number;
  private readonly emit: (part: Part) => Promise<void>;

  constructor(firstPart: number, partSizeBytes: number, emit: (part: Part) => Promise<void>) {
    this.n = firstPart;
    this.partSizeBytes = partSizeBytes;
    this.emit = emit;
    this.buffer = new Uint8Array(0);
  }

  /** Resolves when there is room again. The bytes are copied. */
  async write(bytes: Uint8Array): Promise<void> {
    let rest = bytes;
    while (rest.length > 0) {
      // A part that was handed over is its receiver's now, so each gets memory of its own.
      if (this.buffer.length === 0) this.buffer = new Uint8Array(this.partSizeBytes);
      const taken = rest.subarray(0, this.partSizeBytes - this.filled);
      this.buffer.set(taken, this.filled);
      this.filled += taken.length;
      rest = rest.subarray(taken.length);
      if (this.filled === this.partSizeBytes) await this.handOver();
    }
  }

  /** Hands over what is left, which may be a short last part. */
  async end(): Promise<void> {
    if (this.filled > 0) await this.handOver();
  }

  private async handOver(): Promise<void> {
    const bytes = this.buffer.subarray(0, this.filled);
    this.buffer = new Uint8Array(0);
    this.filled = 0;
    await this.emit({ n: this.n++, bytes });
  }
}
