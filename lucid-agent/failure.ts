/** A placement's tagged failure, and the one mapping from file system errors to it. */
import type { AgentProblem, AgentProblemCode } from "../schemas/agent-protocol.ts";
import { isRetryable, judged } from "../schemas/failure-policy.ts";

export class AgentFailure extends Error {
  override readonly name = "AgentFailure";
  readonly code: AgentProblemCode;

  constructor(code: AgentProblemCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

export function problemOf(failure: AgentFailure): AgentProblem {
  return { code: failure.code, message: failure.message, retryable: isRetryable(failure.code) };
}

/** The `code` of a system error, or null. */
export function errnoOf(error: unknown): string | null {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : null;
}

/** Anything thrown while a file was placed. Messages carry the errno, never a path of this machine or a URL. */
export function asAgentFailure(error: unknown): AgentFailure {
  if (error instanceof AgentFailure) return error;
  const errno = errnoOf(error);
  const code = judged("agentErrno", errno);
  return new AgentFailure(code, `The file system answered ${errno ?? "with an unknown error"}.`, error);
}

/**
 * Waits no longer than `timeoutMs`: a FUSE mount whose daemon hangs never answers.
 * @throws AgentFailure LUCIDLINK_UNAVAILABLE
 */
export async function withinDeadline<Value>(work: Promise<Value>, timeoutMs: number): Promise<Value> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new AgentFailure("LUCIDLINK_UNAVAILABLE", "The file system does not answer.")),
    timeoutMs,
  );
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
