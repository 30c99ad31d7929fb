/** The policy of stacks that are made to fail: seconds instead of minutes, so that what heals is seen to heal. */
import { defaultLadder } from "../schemas/ladder.ts";

/** The mechanisms are production's, their patience is not. */
export const impatientPolicy = {
  leaseMs: 10_000,
  originalGraceMs: 10_000,
  queuedWatchdogMs: 5_000,
  silentWatchdogMs: 25_000,
  transcodeWatchdogMs: 8_000,
  watchdogMaxMs: 20_000,
  backoff: { baseMs: 1_000, maxMs: 4_000 },
  agentBackoff: { baseMs: 1_000, maxMs: 4_000 },
  agentCheckMs: 5_000,
  opTokenMs: 60_000,
  // The least that S3 takes, so that small files move in several messages.
  transferPartBytes: 5 * 1024 * 1024,
  // A high rate and small parts at the top, so that a short clip has several.
  ladder: {
    ...defaultLadder,
    partSizeBytes: 5 * 1024 * 1024,
    rungs: defaultLadder.rungs
      .slice(0, 2)
      .map((rung) => (rung.quality === "540p" ? { ...rung, maxRateBps: 60_000_000, crf: 8 } : rung)),
  },
};
