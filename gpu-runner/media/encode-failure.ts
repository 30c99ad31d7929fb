/** How an encode fails: a code for machines, words for people, and whether another try could end better. */

export type EncodeFailure = { code: string; message: string; retryable: boolean };

/** Thrown anywhere in a job, sinks included; whatever else is thrown counts as a bug of the runner, and retryable. */
export class EncodeError extends Error {
  override name = "EncodeError";
  readonly code: string;
  readonly retryable: boolean;

  constructor({ code, message, retryable }: EncodeFailure) {
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}

export function toFailure(error: unknown): EncodeFailure {
  if (error instanceof Error && "code" in error && "retryable" in error) {
    return { code: String(error.code), message: error.message, retryable: error.retryable === true };
  }
  // Not the message: it may quote an address or a path.
  const name = error instanceof Error ? error.name : "unknown error";
  return { code: "RUNNER_FAILED", message: `The runner failed (${name}).`, retryable: true };
}

/** Rejects with the signal's reason; never resolves. */
export function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
