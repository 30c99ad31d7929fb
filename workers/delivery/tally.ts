/**
 * How much each tier has served, counted in this isolate's memory and handed out about once a minute: one log line and one
 * write for all that was served meanwhile. A lone viewing is handed out where it ends, a long one each minute. What an
 * isolate takes along when it is evicted was counted within a minute after the last write (10 s where Wasabi served it),
 * and nothing was asked for since.
 */
import type { ServedFrom } from "./delivery.ts";

/** `none`: answered 503. */
export type Outcome = ServedFrom | "none";

export interface Count {
  requests: number;
  /** What was handed on to viewers: of a range that was broken off, only what had been read until then. */
  bytes: number;
}
export type Tally = Partial<Record<Outcome, Count>>;

const WINDOW_MS = 60_000;
/** Wasabi's egress costs money, so less of it may be lost; not at once, as an outage of R2 sends everybody there. */
const ARCHIVE_WINDOW_MS = 10_000;

export interface Counter {
  request(outcome: Outcome, nowMs: number): void;
  bytes(outcome: Outcome, count: number, nowMs: number): void;
  /** @returns what has been counted for a whole minute; null before */
  due(nowMs: number): Tally | null;
  /** A response has ended. @returns what has been counted, when the last hand-out is long enough ago */
  ended(outcome: Outcome, nowMs: number): Tally | null;
  /** What could not be recorded is handed out again with the next: counted twice, if only the answer was lost. */
  putBack(tally: Tally, nowMs: number): void;
}

export function createCounter(): Counter {
  let tally: Tally = {};
  let startedAtMs: number | null = null;
  let handedOutAtMs = Number.NEGATIVE_INFINITY;

  function add(outcome: Outcome, { requests, bytes }: Count, nowMs: number): void {
    startedAtMs ??= nowMs;
    const known = tally[outcome] ?? { requests: 0, bytes: 0 };
    known.requests += requests;
    known.bytes += bytes;
    tally[outcome] = known;
  }

  function handOut(nowMs: number): Tally {
    const ended = tally;
    tally = {};
    startedAtMs = null;
    handedOutAtMs = nowMs;
    return ended;
  }

  return {
    request: (outcome, nowMs) => add(outcome, { requests: 1, bytes: 0 }, nowMs),
    bytes: (outcome, count, nowMs) => add(outcome, { requests: 0, bytes: count }, nowMs),
    due: (nowMs) => (startedAtMs !== null && nowMs - startedAtMs >= WINDOW_MS ? handOut(nowMs) : null),
    ended(outcome, nowMs) {
      const windowMs = outcome === "wasabi" ? ARCHIVE_WINDOW_MS : WINDOW_MS;
      return startedAtMs !== null && nowMs - handedOutAtMs >= windowMs ? handOut(nowMs) : null;
    },
    putBack(lost, nowMs) {
      for (const [outcome, count] of Object.entries(lost)) add(outcome as Outcome, count, nowMs);
    },
  };
}
