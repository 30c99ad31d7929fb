/** Calls `onStall` once if a counter has not moved for a while. */
export type Watchdog = { stop: () => void };

export function watchForStall(counter: () => number, stallTimeoutMs: number, onStall: () => void): Watchdog {
  let last = counter();
  let unchangedMs = 0;
  const stepMs = Math.max(10, Math.floor(stallTimeoutMs / 20));
  // Counted in steps and not by the clock: a machine that slept must not find its job stalled.
  const timer = setInterval(() => {
    const now = counter();
    unchangedMs = now === last ? unchangedMs + stepMs : 0;
    last = now;
    if (unchangedMs < stallTimeoutMs) return;
    clearInterval(timer);
    onStall();
  }, stepMs);
  return { stop: () => clearInterval(timer) };
}
