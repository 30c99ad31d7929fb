/**
 * Node writes to a terminal while everything else waits. One that stands still (Ctrl-S, an ssh that hangs) would hold up
 * heartbeats, cancels and signals. What it does not take is kept instead.
 */
export function writeWithoutWaiting(stream: { isTTY?: boolean }): void {
  if (!stream.isTTY) return;
  // Node has no public way to say this.
  const { _handle: handle } = stream as { _handle?: { setBlocking?: (blocking: boolean) => unknown } | null };
  handle?.setBlocking?.(false);
}
