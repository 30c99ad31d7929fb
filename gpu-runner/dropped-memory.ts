/**
 * Lets go of what a socket's read brought, at once: left to the garbage collector, tens of megabytes of read chunks wait
 * for it, as it counts their small wrappers and not their memory, and it comes the more often for them.
 */
import { isMarkedAsUntransferable } from "node:worker_threads";

export function dropMemory({ buffer }: Uint8Array): void {
  // Node's own pool is marked, as other buffers lie in it. How large it is differs from version to version.
  if (!(buffer instanceof ArrayBuffer) || buffer.detached || isMarkedAsUntransferable(buffer)) return;
  buffer.transfer(0);
}
