/** Waiting between tries: exponential with full-range jitter, ended at once by an AbortSignal. */
import { setTimeout as sleep } from "node:timers/promises";

export type Backoff = { baseMs: number; maxMs: number };

/** @param attempt from 1. Between half and all of the doubled base, so that many runners do not come back together. */
export function backoffDelayMs(attempt: number, { baseMs, maxMs }: Backoff, random: () => number): number {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(attempt - 1, 30));
  return Math.round(ceiling * (0.5 + random() / 2));
}

/** Rejects with the signal's reason when it is aborted first. */
export async function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  try {
    await sleep(delayMs, undefined, { signal });
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  }
}
