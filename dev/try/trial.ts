/** Puts one file through the media core, as a runner would, and compares what comes out with it. */
import { mkdir } from "node:fs/promises";
import type { Binaries } from "../../gpu-runner/media/binaries.ts";
import { encodeJob } from "../../gpu-runner/media/encode-job.ts";
import type { EncoderChoice } from "../../gpu-runner/media/encoder-probe.ts";
import { startOrigin } from "../../gpu-runner/media/testing/origin-server.ts";
import { lookAt } from "../../gpu-runner/media/testing/rendition-look.ts";
import {
  decodedSeconds,
  type Level,
  levelsOf,
  matchFrames,
  pictureLikeness,
  rateOf,
  soundLagOf,
} from "../../gpu-runner/media/testing/source-compare.ts";
import { defaultLadder } from "../../schemas/ladder.ts";
import { planLadder } from "../../schemas/plan-ladder.ts";
import { faultsOf } from "./fault.ts";
import { openRendition, renditionPath } from "./rendition-folder.ts";
import type { Comparison, Trial } from "./trial-state.ts";

export type TrialOptions = {
  binaries: Binaries;
  encoder: EncoderChoice;
  folder: string;
  /** How much of the file is compared for its sound and picture; frames are all counted. */
  compareSeconds: number;
  signal: AbortSignal;
};

/** Fills the trial in; rejects only for what is wrong with this machine. */
export async function runTrial(trial: Trial, options: TrialOptions): Promise<void> {
  await mkdir(options.folder, { recursive: true });
  const origin = await startOrigin(trial.file);
  const warn = (_: unknown, message: string) => trial.warnings.push(message);
  try {
    const outcome = await encodeJob({
      source: { url: origin.location },
      plan: async (source) => {
        trial.plans = planLadder(source, defaultLadder);
        return trial.plans;
      },
      skip: [],
      sink: (plan) => openRendition(options.folder, plan),
      encoder: options.encoder,
      binaries: options.binaries,
      onProbe: (source) => {
        Object.assign(trial, { source, stage: "encoding" });
      },
      onDamage: async (source) => {
        trial.source = source;
      },
      onProgress: (progress) => {
        trial.progress = progress;
      },
      signal: options.signal,
      log: { info: () => {}, warn, error: warn },
    });
    if (outcome.ok) {
      Object.assign(trial, { renditions: outcome.renditions, stage: "comparing" });
      const { url } = await origin.location();
      trial.comparison = await compare(trial, options, url);
      trial.faults = faultsOf(trial, trial.comparison);
    } else trial.refusal = outcome.failure;
    trial.stage = "done";
  } finally {
    await origin.close();
  }
}

async function compare(trial: Trial, options: TrialOptions, sourceUrl: string): Promise<Comparison> {
  const { binaries, folder, compareSeconds } = options;
  const { source, plans, file } = trial;
  const lowest = plans[0];
  if (source === null || lowest === undefined) throw new Error(`${file}: encoded without a plan`);
  const lowestPath = renditionPath(folder, lowest);
  const halfFrameSeconds = lowest.fps.den / lowest.fps.num / 2;
  const [shown, look] = await Promise.all([
    decodedSeconds(binaries, file, source.videoIndex === undefined ? "0:V:0" : `0:${source.videoIndex}`),
    lookAt(lowestPath, binaries.ffprobePath),
  ]);
  const sourceLevels: Level[][] = [];
  for (const [track, { codec }] of source.audio.entries()) {
    sourceLevels.push(codec === "unknown" ? [] : await levelsOf(binaries, file, track).catch(() => []));
  }
  const tracks = sourceLevels.flatMap((channels, track) => (isSilent(channels) ? [] : [track]));
  const heard = look.audio !== undefined;
  const asked = { file, tracks, probe: source };
  const pictures: Comparison["pictures"] = [];
  for (const plan of plans) {
    const made = renditionPath(folder, plan);
    const likeness = pictureLikeness(binaries, { sourceUrl, made, source, plan }, compareSeconds);
    pictures.push(
      await likeness.then(
        (found) => ({ quality: plan.quality, likeness: found, why: null }),
        (error: Error) => ({
          quality: plan.quality,
          likeness: null,
          why: error.message.trim().split("\n").at(-1) ?? "",
        }),
      ),
    );
  }
  return {
    rate: rateOf(shown),
    frames: matchFrames(shown, look.shownSeconds, halfFrameSeconds + 0.001),
    sourceLevels,
    levels: heard ? await levelsOf(binaries, lowestPath, 0) : [],
    lag:
      heard && tracks.length > 0
        ? await soundLagOf(binaries, asked, lowestPath, compareSeconds).catch(() => null)
        : null,
    pictures,
    look,
  };
}

export const isSilent = (channels: readonly Level[]) => channels.every(({ peakDb }) => peakDb < -80);
