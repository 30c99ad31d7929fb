/** Decides whether an encode is whole. ffmpeg's exit status alone proves nothing. Pure. */
import type { RenditionPlan } from "../../schemas/ladder.ts";
import type { EncodeFailure } from "./encode-failure.ts";

export type EncodeEvidence = {
  /** null: killed by a signal. */
  exitCode: number | null;
  stderrTail: readonly string[];
  renditions: readonly {
    plan: RenditionPlan;
    /** null where the stream never became a file: it broke off, or nobody connected. */
    frames: number | null;
  }[];
};

/** Sources state durations loosely; below half a per cent, but at least two frames, nothing is missing. */
export function missingFramesAllowed(expectedFrames: number): number {
  return Math.max(2, Math.floor(expectedFrames * 0.005));
}

/** null when every rendition is whole. */
export function verifyEncode(evidence: EncodeEvidence): EncodeFailure | null {
  if (evidence.exitCode !== 0) {
    return { code: "ENCODER_FAILED", message: encoderMessage(evidence), retryable: true };
  }
  for (const { plan, frames } of evidence.renditions) {
    if (frames === null) {
      const message = `ffmpeg ended well, but its ${plan.quality} stream broke off.`;
      return { code: "ENCODER_FAILED", message, retryable: true };
    }
    if (frames < plan.expectedFrames - missingFramesAllowed(plan.expectedFrames)) {
      const message =
        `Only ${frames} of ${plan.expectedFrames} frames could be decoded: the original is cut off or damaged after ` +
        `${((frames * plan.fps.den) / plan.fps.num).toFixed(1)} seconds.`;
      return { code: "TRUNCATED", message, retryable: false };
    }
  }
  return null;
}

function encoderMessage({ exitCode, stderrTail }: EncodeEvidence): string {
  const how = exitCode === null ? "was killed" : `ended with status ${exitCode}`;
  const why = stderrTail.slice(-3).join(" | ").slice(0, 600);
  return `ffmpeg ${how}${why ? `: ${why}` : "."}`;
}
