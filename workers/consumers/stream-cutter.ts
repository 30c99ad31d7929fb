/** Cuts one stream into consecutive streams of given sizes, without gathering any of them. */
import { type ChunkReader, chunkReader } from "../stores/chunk-reader.ts";

export class StreamCutter {
  readonly #reader: ChunkReader;
  #rest: Uint8Array = new Uint8Array();

  constructor(source: ReadableStream<Uint8Array>) {
    this.#reader = chunkReader(source);
  }

  /** The next `sizeBytes`, fewer when the source ends. The one before must have been read to its end. */
  next(sizeBytes: number): ReadableStream<Uint8Array> {
    let leftBytes = sizeBytes;
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        const chunk = await this.#chunk(leftBytes);
        if (chunk !== null) {
          leftBytes -= chunk.length;
          controller.enqueue(chunk);
        }
        if (chunk === null || leftBytes === 0) controller.close();
      },
      cancel: (reason) => this.#reader.cancel(reason),
    });
  }

  /** Whether the source holds nothing more. */
  async isOver(): Promise<boolean> {
    const over = (await this.#chunk(1)) === null;
    await this.#reader.cancel(undefined);
    return over;
  }

  async #chunk(mostBytes: number): Promise<Uint8Array | null> {
    while (this.#rest.length === 0) {
      const chunk = await this.#reader.next();
      if (chunk === null) return null;
      this.#rest = chunk;
    }
    const chunk = this.#rest.subarray(0, mostBytes);
    this.#rest = this.#rest.subarray(chunk.length);
    return chunk;
  }
}
