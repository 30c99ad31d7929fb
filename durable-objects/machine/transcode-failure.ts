/** Tells a poison asset from a bad runner by who failed on it. Pure. */
import type { TranscodeFailure } from "../../schemas/asset-state.ts";
import type { FailureCode } from "../../schemas/failure.ts";
import { type FailurePolicy, failurePolicy } from "../../schemas/failure-policy.ts";
import type { Policy } from "../../schemas/policy.ts";

/**
 * @returns null when another attempt is worth it; otherwise the code and sentence to fail with: POISON_ASSET once enough
 * different runners have failed, the last failure's own code once one runner alone has used up the tries. A runner that
 * fell silent may have had its own reasons (a power cut), so silence counts half; an outage of a store says nothing about
 * either, and counts nothing.
 */
export function judgeFailures(
  failures: readonly TranscodeFailure[],
  policy: Pick<Policy, "poisonRunners" | "transcodeAttempts">,
): { code: FailureCode; message: string } | null {
  const last = failures.at(-1);
  if (last === undefined || isOutage(last)) return null;
  const counted = failures.filter((failure) => !isOutage(failure));
  const spoken = counted.filter((failure) => failure.code !== "LEASE_LOST");
  const silent = counted.length - spoken.length;
  const runners = new Set(spoken.map((failure) => failure.runnerId));
  if (runners.size >= policy.poisonRunners || silent >= 2 * policy.transcodeAttempts) {
    return { code: "POISON_ASSET", message: `Failed on ${runners.size + silent} runners, last: ${last.message}` };
  }
  const byLast = spoken.filter((failure) => failure.runnerId === last.runnerId).length;
  if (last.code !== "LEASE_LOST" && byLast >= policy.transcodeAttempts)
    return { code: last.code, message: last.message };
  return null;
}

function isOutage({ code }: TranscodeFailure): boolean {
  const policy: FailurePolicy = failurePolicy[code];
  return policy === "outage";
}
