/**
 * Leaves an asset that failed here to other runners for a while: the trouble may be this runner, and the tries it would use
 * up are the asset's. Pure.
 */
import type { TranscodeMessage } from "../../schemas/runner-protocol.ts";
import { isTelling } from "./failure-streak.ts";
import type { JobOutcome } from "./run-job.ts";

/** Of each asset that failed here: the generation that did, and how often it was left to others since. */
export type OwnFailures = ReadonlyMap<string, { generation: number; timesLeft: number }>;

/**
 * For how many of its polls the runner rests each time that it leaves an asset to others. Whoever idles has asked within the
 * first rest, and who ends a short job within the second; then it may be the only runner there is.
 */
export const restPolls: readonly number[] = [10, 60];

const maxAssets = 32;

export function nextOwnFailures(
  own: OwnFailures,
  { fileId, generation }: Pick<TranscodeMessage, "fileId" | "generation">,
  outcome: JobOutcome,
): OwnFailures {
  if (outcome.type !== "done" && !isTelling(outcome)) return own;
  const others = [...own].filter(([failed]) => failed !== fileId);
  if (outcome.type === "done") return new Map(others);
  return new Map([...others, [fileId, { generation, timesLeft: 0 }] as const].slice(-maxAssets));
}

/**
 * @param deliveries of this message, this one included: a queue takes what is given back too often for dead
 * @returns null when the runner should take it; otherwise what to remember, and how many polls to rest
 */
export function leaveToOthers(
  own: OwnFailures,
  { fileId, generation }: Pick<TranscodeMessage, "fileId" | "generation">,
  deliveries: number,
): { own: OwnFailures; polls: number } | null {
  const failure = own.get(fileId);
  // An older one is stale: nobody can have it, and its claim is refused.
  if (failure === undefined || generation <= failure.generation) return null;
  const polls = restPolls[failure.timesLeft];
  if (polls === undefined || deliveries > restPolls.length) return null;
  return { own: new Map(own).set(fileId, { ...failure, timesLeft: failure.timesLeft + 1 }), polls };
}
