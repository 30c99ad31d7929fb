/** Runs one whole job of the media core on a local file, into files: no stack, no store. */
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { openOrigin } from "../dev/origin-server.ts";
import type { Binaries } from "../gpu-runner/media/binaries.ts";
import { type EncodedRendition, encodeJob } from "../gpu-runner/media/encode-job.ts";
import type { EncoderChoice } from "../gpu-runner/media/encoder-probe.ts";
import { defaultLadder, type RenditionPlan } from "../schemas/ladder.ts";
import type { SourceProbe } from "../schemas/media-probe.ts";
import { planLadder } from "../schemas/plan-ladder.ts";
import { saySometimes } from "./figure.ts";

export interface QualityRun {
  source: SourceProbe;
  made: { plan: RenditionPlan; rendition: EncodedRendition; file: string }[];
}

export interface QualityRunInput {
  file: string;
  sizeBytes: number;
  folder: string;
  binaries: Binaries;
  encoder: EncoderChoice;
}

const quiet = { info: () => {}, warn: () => {}, error: () => {} };

export async function encodeFile({ file, sizeBytes, folder, binaries, encoder }: QualityRunInput): Promise<QualityRun> {
  const origin = await openOrigin(file);
  const fileOf = ({ quality }: { quality: string }) => join(folder, `${quality}.mp4`);
  let source: SourceProbe | undefined;
  let plans: RenditionPlan[] = [];
  try {
    const outcome = await encodeJob({
      source: { url: async () => ({ url: `http://127.0.0.1:${origin.port}/file`, sizeBytes }) },
      plan: async (probed) => {
        plans = planLadder(probed, defaultLadder);
        await Promise.all(plans.map((plan) => rm(fileOf(plan), { force: true })));
        return plans;
      },
      skip: [],
      sink: (plan) => ({
        part: (n, bytes, release) => writeAt(fileOf(plan), (n - 1) * plan.partSizeBytes, bytes).finally(release),
      }),
      ...{ encoder, binaries, log: quiet, signal: new AbortController().signal },
      onProbe: (probed) => {
        source = probed;
      },
      onProgress: ({ percent }) => saySometimes(`encoding: ${Math.round(percent)} %`),
    });
    if (!outcome.ok) throw new Error(`${outcome.failure.code}: ${outcome.failure.message}`);
    if (source === undefined) throw new Error("the source was never probed");
    const made = outcome.renditions.map((rendition) => {
      const plan = plans.find(({ quality }) => quality === rendition.quality);
      if (plan === undefined) throw new Error(`${rendition.quality} was not planned`);
      return { plan, rendition, file: fileOf(plan) };
    });
    return { source, made };
  } finally {
    await origin.close();
  }
}

async function writeAt(path: string, at: number, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "a").then(async (created) => {
    await created.close();
    return await open(path, "r+");
  });
  try {
    await file.write(bytes, 0, bytes.length, at);
  } finally {
    await file.close();
  }
}
