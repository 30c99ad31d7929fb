/**
 * Why a job ends early, as typed errors: a failure to report under the lease, or a lease or a token that is gone (nothing
 * to report), or a runner that is shutting down (to be released).
 */
import { type FailureCode, failureFacts } from "../../schemas/failure.ts";
import type { RunnerRefusal } from "../../schemas/runner-protocol.ts";

export class JobFailure extends Error {
  override name = "JobFailure";
  readonly code: FailureCode;
  readonly retryable: boolean;

  constructor(code: FailureCode, message: string, options: { retryable?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? failureFacts[code].retryable;
  }
}

/** `reason` is the object's, or `expired` when its answers stayed away for as long as the lease lives. */
export class LeaseLost extends Error {
  override name = "LeaseLost";
  readonly reason: RunnerRefusal | "expired";

  constructor(reason: RunnerRefusal | "expired", message: string) {
    super(message);
    this.reason = reason;
  }
}

/** The API takes this runner's token no longer: it has expired or was ended. Only a new one helps. */
export class TokenRefused extends Error {
  override name = "TokenRefused";
}

export class ShuttingDown extends Error {
  override name = "ShuttingDown";
}
