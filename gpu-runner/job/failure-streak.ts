/**
 * Notices when it is not the assets that fail: a runner that is itself the trouble, and a store that lets nobody in, each
 * by several different assets in a row. Pure.
 */
import type { FailureCode } from "../../schemas/failure.ts";
import type { JobOutcome } from "./run-job.ts";

/** What a broken machine looks like. Bad files and absent stores say nothing about the runner. */
const telling: ReadonlySet<FailureCode> = new Set(["ENCODER_FAILED", "RUNNER_FAILED", "OUTPUT_INCOMPLETE"]);
export const assetsInARow = 3;

export function isTelling(outcome: JobOutcome): outcome is Extract<JobOutcome, { type: "failed" }> {
  return outcome.type === "failed" && telling.has(outcome.code);
}

export type FailureStreak = readonly { fileId: string; message: string }[];

export function nextStreak(streak: FailureStreak, fileId: string, outcome: JobOutcome): FailureStreak {
  if (outcome.type === "done") return [];
  if (!isTelling(outcome)) return streak;
  return [...streak.filter((failed) => failed.fileId !== fileId), { fileId, message: outcome.message }];
}

/** Why the runner should pull no more; null while it may. */
export function reasonToStop(streak: FailureStreak): string | null {
  if (streak.length < assetsInARow) return null;
  const last = streak.at(-1)?.message ?? "";
  return `failed ${streak.length} different assets in a row (${streak.map((failed) => failed.fileId).join(", ")}); last: ${last}`;
}

const assetsShutOut = 2;

/** Assets whose originals nobody may read. The keys are the API's: they are fixed there, and every job until then fails. */
export type ShutOut = readonly string[];

export function nextShutOut(shutOut: ShutOut, fileId: string, outcome: JobOutcome): ShutOut {
  if (outcome.type === "done") return [];
  if (outcome.type !== "failed" || outcome.code !== "WASABI_FORBIDDEN") return shutOut;
  return [...shutOut.filter((failed) => failed !== fileId), fileId].slice(-assetsShutOut);
}

/** Why the runner should wait before it pulls another job; null while it need not. */
export function reasonToWait(shutOut: ShutOut): string | null {
  if (shutOut.length < assetsShutOut) return null;
  return `the store refuses the originals of different assets in a row (last: ${shutOut.join(", ")}): check its keys`;
}
