/** The one error that stores throw on purpose: a code of the failure table, and whether and when to try again. */
import type { FailureCode } from "../../schemas/failure.ts";
import { isRetryable, longestRetryAfterMs } from "../../schemas/failure-policy.ts";

export class StoreFailure extends Error {
  override readonly name = "StoreFailure";
  readonly code: FailureCode;
  /** As the table has it, unless whoever throws knows for certain that this very case is another. */
  readonly retryable: boolean;
  /** What the store asked for (Retry-After); null leaves it to the caller's backoff. */
  readonly retryAfterMs: number | null;

  constructor(
    code: FailureCode,
    message: string,
    options: { retryable?: boolean; retryAfterMs?: number | null; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? isRetryable(code);
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}

/** @returns the milliseconds that a Retry-After header asks for (seconds or an HTTP date), at most an hour. */
export function retryAfterMs(headers: Headers, nowMs: number): number | null {
  const text = headers.get("retry-after")?.trim();
  if (text === undefined || text === "") return null;
  const waitMs = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isFinite(waitMs) ? Math.min(Math.max(waitMs, 0), longestRetryAfterMs) : null;
}
