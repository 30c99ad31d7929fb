/** How like the source a rendition is: VMAF where this ffmpeg has it, else SSIM. Commands built apart from being run. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Binaries } from "../gpu-runner/media/binaries.ts";
import { filterGraph, NO_AUTOROTATE } from "../gpu-runner/media/picture-graph.ts";
import type { RenditionPlan } from "../schemas/ladder.ts";
import type { SourceProbe } from "../schemas/media-probe.ts";

export type Metric = "vmaf" | "ssim";

/** What a rendition that cannot be told from its source scores. */
export const perfect: Readonly<Record<Metric, number>> = { vmaf: 100, ssim: 1 };

const exec = promisify(execFile);
const measureTimeoutMs = 60 * 60_000;

export async function metricOf({ ffmpegPath }: Binaries): Promise<Metric> {
  const { stdout } = await exec(ffmpegPath, ["-hide_banner", "-filters"]);
  return / libvmaf /.test(stdout) ? "vmaf" : "ssim";
}

export interface Comparison {
  sourceFile: string;
  renditionFile: string;
  source: SourceProbe;
  plan: RenditionPlan;
}

/**
 * The reference is the source brought to the rung's size, rate and colours by the very filters of an encode, bicubic;
 * what is measured is what the encoder then lost. Frames are paired by their number.
 */
export function measureArguments(metric: Metric, { sourceFile, renditionFile, source, plan }: Comparison): string[] {
  const byNumber = `settb=AVTB,setpts=N*${plan.fps.den}/${plan.fps.num}/TB`;
  const compare = metric === "vmaf" ? "libvmaf=n_threads=2" : "ssim";
  const graph = [
    filterGraph(source, [plan]),
    `[v0]fps=${plan.fps.num}/${plan.fps.den},${byNumber}[reference]`,
    `[1:V:0]${byNumber}[rendition]`,
    `[rendition][reference]${compare}`,
  ].join(";");
  const quiet = "-hide_banner -nostdin -nostats -v info".split(" ");
  return [
    ...quiet,
    ...NO_AUTOROTATE,
    "-i",
    sourceFile,
    "-i",
    renditionFile,
    "-filter_complex",
    graph,
    "-f",
    "null",
    "-",
  ];
}

/** @throws when ffmpeg told no score */
export function readScore(metric: Metric, stderr: string): number {
  const pattern = metric === "vmaf" ? /VMAF score: ([\d.]+)/ : /SSIM .*All:([\d.]+)/;
  const score = Number(pattern.exec(stderr)?.[1] ?? Number.NaN);
  if (Number.isNaN(score)) throw new Error(`ffmpeg told no ${metric}: ${stderr.trim().split("\n").at(-1) ?? ""}`);
  return score;
}

export async function measure(binaries: Binaries, metric: Metric, comparison: Comparison): Promise<number> {
  const options = { timeout: measureTimeoutMs, maxBuffer: 16 * 1024 * 1024 };
  const { stderr } = await exec(binaries.ffmpegPath, measureArguments(metric, comparison), options);
  return readScore(metric, stderr);
}
