import { dropMemory } from "../../dropped-memory.ts";

/** Bytes as an encoder's socket gives them: each chunk in memory of its own, which is gone once the next is asked for. */
export async function* socketChunks(bytes: Uint8Array, chunkBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    const chunk = Buffer.from(new Uint8Array(bytes.subarray(at, at + chunkBytes)).buffer);
    yield chunk;
    dropMemory(chunk);
  }
}
