/**
 * Lets go of what a socket's read brought, at once: left to the garbage collector, tens of megabytes of read chunks wait
 * for it, as it counts their small wrappers and not their memory.
 */
export function dropMemory({ buffer }: Uint8Array): void {
  // Small buffers of Node's share their memory with others.
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength <= Buffer.poolSize || buffer.detached) return;
  buffer.transfer(0);
}
