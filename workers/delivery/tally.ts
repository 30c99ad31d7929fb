/**
 * How much each tier has served, counted in this isolate's memory and handed out at most once a minute: one log line and
 * one write for all that was served meanwhile. An isolate that ends takes less than a minute's counts along.
 */
import type { ServedFrom } from "./delivery.ts";

/** `none`: answered 503, since no tier could serve. */
export type Outcome = ServedFrom | "none";

export interface Count {
  requests: number;
  /** What was handed on to viewers: of a range that was broken off, only what had been read until then. */
  bytes: number;
}
export type Tally = Partial<Record<Outcome, Count>>;

const WINDOW_MS = 60_000;

export interface Counter {
  /** @returns what the window before has counted, once it has ended */
  request(outcome: Outcome, nowMs: number): Tally | null;
  bytes(outcome: Outcome, count: number): void;
}

export function createCounter(): Counter {
  let tally: Tally = {};
  let endsAtMs = 0;
  const countOf = (outcome: Outcome): Count => {
    const known = tally[outcome];
    if (known !== undefined) return known;
    const fresh = { requests: 0, bytes: 0 };
    tally[outcome] = fresh;
    return fresh;
  };
  return {
    request(outcome, nowMs) {
      const ended = nowMs >= endsAtMs && Object.keys(tally).length > 0 ? tally : null;
      if (nowMs >= endsAtMs) {
        tally = {};
        endsAtMs = nowMs + WINDOW_MS;
      }
      countOf(outcome).requests += 1;
      return ended;
    },
    bytes(outcome, count) {
      countOf(outcome).bytes += count;
    },
  };
}
