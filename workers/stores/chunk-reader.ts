/**
 * Reads a stream in chunks worth handling: network streams come in pieces of 4 KiB, and each piece passes several
 * hashes and a socket. Streams that cannot fill a buffer are read as they come.
 */
export interface ChunkReader {
  /** At most `mostBytes`; null at the end. */
  next(mostBytes?: number): Promise<Uint8Array | null>;
  /** Lets a later chunk be read into this one's memory, which costs less than new memory. Nobody may look at it then. */
  release(chunk: Uint8Array): void;
  cancel(reason: unknown): Promise<void>;
}

const usualChunkBytes = 512 * 1024;

export function chunkReader(source: ReadableStream<Uint8Array>, chunkBytes = usualChunkBytes): ChunkReader {
  const filling = fillingReader(source);
  if (filling === null) return plainReader(source.getReader());
  const spare: ArrayBufferLike[] = [];
  return {
    async next(mostBytes = chunkBytes) {
      const wantedBytes = Math.min(chunkBytes, mostBytes);
      const memory = spare.pop() ?? new ArrayBuffer(chunkBytes);
      const { done, value } = await filling.readAtLeast(wantedBytes, new Uint8Array(memory, 0, wantedBytes));
      if (value !== undefined && value.length > 0) return value;
      return done ? null : new Uint8Array();
    },
    release({ buffer }) {
      if (buffer.byteLength === chunkBytes) spare.push(buffer);
    },
    cancel: (reason) => filling.cancel(reason),
  };
}

function plainReader(reader: ReadableStreamDefaultReader<Uint8Array>): ChunkReader {
  let rest: Uint8Array = new Uint8Array();
  return {
    async next(mostBytes = Number.POSITIVE_INFINITY) {
      if (rest.length === 0) {
        const { done, value } = await reader.read();
        if (done) return null;
        rest = value;
      }
      const chunk = rest.subarray(0, mostBytes);
      rest = rest.subarray(chunk.length);
      return chunk;
    },
    // What a stream of objects hands out may be held by others.
    release: () => undefined,
    cancel: (reason) => reader.cancel(reason),
  };
}

/** @returns null when the stream is not one of bytes */
function fillingReader(source: ReadableStream<Uint8Array>): ReadableStreamBYOBReader | null {
  try {
    return source.getReader({ mode: "byob" });
  } catch {
    return null;
  }
}
