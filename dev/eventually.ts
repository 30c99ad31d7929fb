/** Waiting for what must come to be. */
import { setTimeout as sleep } from "node:timers/promises";

export interface Wait {
  /** Named in the error when the time is over. */
  what: string;
  timeoutMs: number;
  everyMs?: number;
}

/** @returns the first value that is neither null, undefined nor false. @throws when the time is over */
export async function eventually<Value>(
  wait: Wait,
  look: () => Value | null | undefined | false | Promise<Value | null | undefined | false>,
): Promise<Value> {
  const deadlineMs = performance.now() + wait.timeoutMs;
  for (;;) {
    const value = await look();
    if (value !== null && value !== undefined && value !== false) return value;
    if (performance.now() > deadlineMs) throw new Error(`${wait.what}: not within ${wait.timeoutMs / 1_000} s`);
    await sleep(wait.everyMs ?? 200);
  }
}
