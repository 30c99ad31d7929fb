/** How far a job is, by what has come out of its runs. Pure. */
import type { Quality, RenditionPlan } from "../../schemas/ladder.ts";
import type { RunProgress } from "./encode-run.ts";

export type EncodeProgress = {
  percent: number;
  fps: number;
  speed: number;
  etaSeconds: number | null;
  renditions: { quality: Quality; percent: number; uploadedBytes: number }[];
};

export function progressOf(
  plans: readonly RenditionPlan[],
  progress: RunProgress & { runsLeft?: number },
): EncodeProgress {
  const percentOf = (frames: number, plan: RenditionPlan) => Math.min(100, (100 * frames) / plan.expectedFrames);
  const first = plans[0];
  if (!first) return { percent: 100, fps: 0, speed: 0, etaSeconds: 0, renditions: [] };
  const framesLeft =
    Math.max(0, first.expectedFrames - progress.frame) + (progress.runsLeft ?? 0) * first.expectedFrames;
  const renditions = plans.map((plan, i) => ({
    quality: plan.quality,
    percent: percentOf(progress.renditions[i]?.frames ?? 0, plan),
    uploadedBytes: progress.renditions[i]?.uploadedBytes ?? 0,
  }));
  return {
    // Not ffmpeg's own frame count, which runs ahead of what has come out by a fragment.
    percent: renditions.reduce((sum, { percent }) => sum + percent, 0) / renditions.length,
    fps: progress.fps,
    speed: progress.speed,
    etaSeconds: progress.fps > 0 ? Math.round(framesLeft / progress.fps) : null,
    renditions,
  };
}
