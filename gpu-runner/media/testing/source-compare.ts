/** Holds a rendition against its source: when each frame is shown, how loud each side is, how late the sound, how like the picture. */
import { execFile } from "node:child_process";
import { dirname } from "node:path";
import { promisify } from "node:util";
import type { RenditionPlan } from "../../../schemas/ladder.ts";
import type { SourceProbe } from "../../../schemas/media-probe.ts";
import type { Binaries } from "../binaries.ts";
import { buildEncodeCommand } from "../encode-command.ts";
import { writeHdrCube } from "../hdr-cube-file.ts";
import { startOfPicture } from "../sound-graph.ts";

const exec = promisify(execFile);
const MAX_OUTPUT_BYTES = 512 * 1024 * 1024;
const QUIET = "-hide_banner -nostdin -nostats".split(" ");

/** When ffmpeg shows each decoded frame, from the file's start, none repeated or left out to keep a rate. */
export async function decodedSeconds(binaries: Binaries, file: string, track = "0:V:0"): Promise<number[]> {
  const { frameRateModeOption } = binaries.dialect;
  const list = [frameRateModeOption, "passthrough", "-enc_time_base", "-1", "-c:v", "wrapped_avframe"];
  const args = [...QUIET, "-v", "error", "-i", file, "-map", track, ...list, "-f", "framecrc", "-"];
  const { stdout } = await exec(binaries.ffmpegPath, args, { maxBuffer: MAX_OUTPUT_BYTES });
  const base = /^#tb 0: (\d+)\/(\d+)/m.exec(stdout);
  const tickSeconds = Number(base?.[1] ?? 1) / Number(base?.[2] ?? 1);
  const lines = stdout.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return lines.map((line) => Number(line.split(",")[2]) * tickSeconds).toSorted((a, b) => a - b);
}

export type FrameMatch = {
  in: number;
  out: number;
  /** Source frames that no frame of the rendition stands for. */
  missing: number;
  /** Frames of the rendition that stand for no source frame, or for one that another stands for already. */
  repeated: number;
  /** The farthest that a frame is from its time. */
  worstSeconds: number;
};

/** Both lists count from their own first frame. Pairs each source frame with the nearest one of the rendition. */
export function matchFrames(source: readonly number[], made: readonly number[], withinSeconds: number): FrameMatch {
  const [sourceStart, madeStart] = [source[0] ?? 0, made[0] ?? 0];
  const taken = new Set<number>();
  let [missing, worstSeconds, next] = [0, 0, 0];
  for (const seconds of source) {
    const at = seconds - sourceStart;
    const awayOf = (n: number) => Math.abs((made[n] ?? Number.POSITIVE_INFINITY) - madeStart - at);
    while (next + 1 < made.length && awayOf(next + 1) <= awayOf(next)) next++;
    if (awayOf(next) > withinSeconds || taken.has(next)) missing++;
    else {
      taken.add(next);
      worstSeconds = Math.max(worstSeconds, awayOf(next));
    }
  }
  return { in: source.length, out: made.length, missing, repeated: made.length - taken.size, worstSeconds };
}

export type Rate = {
  medianFps: number | null;
  constant: boolean;
  firstSeconds: number;
  lastSeconds: number;
  /** How many frames holes have room for: there the last picture must stand. */
  gapFrames: number;
};

/** Constant: nearly all intervals are the middle one, give or take a millisecond and the clock's own rounding. */
export function rateOf(seconds: readonly number[]): Rate {
  const intervals = seconds.slice(1).map((at, n) => at - (seconds[n] ?? 0));
  const sorted = intervals.toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const near = intervals.filter((each) => Math.abs(each - median) <= 0.0021).length;
  const like = intervals.filter((each) => Math.abs(each - median) <= 0.0021);
  const mean = like.reduce((sum, each) => sum + each, 0) / Math.max(1, like.length);
  return {
    medianFps: mean > 0 ? 1 / mean : null,
    constant: near >= intervals.length * 0.95,
    firstSeconds: seconds[0] ?? 0,
    lastSeconds: seconds.at(-1) ?? 0,
    gapFrames: median > 0 ? intervals.reduce((sum, each) => sum + Math.max(0, Math.round(each / median) - 1), 0) : 0,
  };
}

/** Of one channel, `rmsDb` of its loudest 50 ms, which silence around it does not lower; -Infinity where it is silent. */
export type Level = { peakDb: number; rmsDb: number };

export async function levelsOf(binaries: Binaries, file: string, track: number): Promise<Level[]> {
  const args = [...QUIET, "-v", "info", "-i", file, "-map", `0:a:${track}`, "-af", "astats", "-f", "null", "-"];
  const { stderr } = await exec(binaries.ffmpegPath, args, { maxBuffer: MAX_OUTPUT_BYTES });
  return readLevels(stderr);
}

export function readLevels(stderr: string): Level[] {
  const channels = (stderr.split(/\] Overall\b/)[0] ?? "").split(/\] Channel: \d+/).slice(1);
  const levelOf = (text: string, name: string) => {
    const value = new RegExp(`${name} dB: (\\S+)`).exec(text)?.[1] ?? "-inf";
    return value.includes("inf") || value.includes("nan") ? Number.NEGATIVE_INFINITY : Number(value);
  };
  return channels.map((text) => ({ peakDb: levelOf(text, "Peak level"), rmsDb: levelOf(text, "RMS peak") }));
}

const ENVELOPE_HZ = 1_000;
const SAMPLE_HZ = 8_000;
/** Longer than a low tone lasts, whose own swing would pass for loudness. */
const SPAN_SECONDS = 0.02;

/** All sound of a file as one, from its start, as 1,000 loudnesses a second. */
async function envelopeOf(
  binaries: Binaries,
  { file, tracks }: { file: string; tracks: readonly number[] },
  seconds: number,
) {
  const inputs = tracks.map((track) => `[0:a:${track}]`).join("");
  const mono = `aresample=${SAMPLE_HZ}:async=1:first_pts=0,aformat=channel_layouts=mono`;
  const mix = tracks.length === 1 ? "" : `amix=inputs=${tracks.length},`;
  const graph = ["-filter_complex", `${inputs}${mix}${mono}[a]`, "-map", "[a]", "-t", String(seconds)];
  // A transport stream begins, to ffmpeg, with the first of the tracks that are read: so the picture is, too.
  const picture = ["-map", "0:V", "-c", "copy", "-t", String(seconds), "-f", "null", "-"];
  const args = [...QUIET, "-v", "error", "-i", file, ...graph, "-f", "f32le", "-", ...picture];
  const options = { encoding: "buffer", maxBuffer: MAX_OUTPUT_BYTES } as const;
  const { stdout } = await exec(binaries.ffmpegPath, args, options);
  const bytes = stdout.buffer.slice(stdout.byteOffset, stdout.byteOffset + stdout.byteLength - (stdout.byteLength % 4));
  const samples = new Float32Array(bytes as ArrayBuffer);
  const hop = SAMPLE_HZ / ENVELOPE_HZ;
  const span = SAMPLE_HZ * SPAN_SECONDS;
  return Float32Array.from({ length: Math.floor(samples.length / hop) }, (_, i) =>
    Math.sqrt(samples.subarray(i * hop, i * hop + span).reduce((sum, value) => sum + value * value, 0) / span),
  );
}

export type SoundLag = { startMs: number | null; endMs: number | null };

/** How much later than in the source, against the picture, the sound is heard, within 500 ms. null: nothing to tell it by. */
export async function soundLagOf(
  binaries: Binaries,
  source: { file: string; tracks: readonly number[]; probe: SourceProbe },
  made: string,
  seconds: number,
): Promise<SoundLag> {
  const [before, after] = await Promise.all([
    envelopeOf(binaries, source, seconds),
    envelopeOf(binaries, { file: made, tracks: [0] }, seconds),
  ]);
  const shift = Math.round((startOfPicture(source.probe) ?? 0) * ENVELOPE_HZ);
  const wanted = before.subarray(Math.max(0, shift));
  const windowMs = Math.min(10_000, wanted.length);
  return {
    startMs: lagMs(wanted, after, 0, windowMs),
    endMs: lagMs(wanted, after, wanted.length - windowMs, wanted.length),
  };
}

const MOST_LAG_MS = 500;
/** Below this the two are not the same sound. */
const LEAST_LIKENESS = 0.5;
/** Of loudness, against its mean. A tone that never changes tells no time. */
const LEAST_CHANGE = 0.2;
/** By which one lag must be better than a shorter one. */
const CLEARLY_BETTER = 0.02;

export function lagMs(before: Float32Array, after: Float32Array, from: number, to: number): number | null {
  if (changeIn(before.subarray(from, to)) < LEAST_CHANGE) return null;
  let best = { lag: 0, likeness: likenessOf(before, after, from, to, 0) };
  for (let away = 1; away <= MOST_LAG_MS; away++) {
    for (const lag of [-away, away]) {
      const likeness = likenessOf(before, after, Math.max(from, -lag), to, lag);
      if (likeness > best.likeness + (best.lag === 0 ? CLEARLY_BETTER : 1e-6)) best = { lag, likeness };
    }
  }
  return best.likeness < LEAST_LIKENESS ? null : best.lag;
}

function changeIn(loudness: Float32Array): number {
  const mean = loudness.reduce((sum, value) => sum + value, 0) / loudness.length;
  const variance = loudness.reduce((sum, value) => sum + (value - mean) ** 2, 0) / loudness.length;
  return mean > 1e-6 ? Math.sqrt(variance) / mean : 0;
}

/** Correlation of the two, less what is common to every moment. */
function likenessOf(before: Float32Array, after: Float32Array, from: number, to: number, lag: number): number {
  let [n, sumA, sumB, sumAA, sumBB, sumAB] = [0, 0, 0, 0, 0, 0];
  for (let i = from; i < to; i++) {
    const [a, b] = [before[i] ?? 0, after[i + lag] ?? 0];
    n++;
    sumA += a;
    sumB += b;
    sumAA += a * a;
    sumBB += b * b;
    sumAB += a * b;
  }
  const spread = Math.sqrt((n * sumAA - sumA * sumA) * (n * sumBB - sumB * sumB));
  return spread > 1e-9 ? (n * sumAB - sumA * sumB) / spread : 0;
}

export type PictureLikeness = { psnrDb: number; worstPsnrDb: number; ssim: number };

/**
 * The reference is the source through the very filters of an encode, so that what the encoder lost is measured, and
 * whether each frame is the one of its time. Frames are paired by time.
 */
export async function pictureLikeness(
  binaries: Binaries,
  { sourceUrl, made, source, plan }: { sourceUrl: string; made: string; source: SourceProbe; plan: RenditionPlan },
  seconds: number,
): Promise<PictureLikeness> {
  const { dialect } = binaries;
  const hdrCube = source.hdr === null ? null : await writeHdrCube(source.hdr, dirname(made));
  const command = buildEncodeCommand({
    ...{ source, plans: [plan], encoder: "x264", dialect, input: sourceUrl, targets: ["-"], hdrCube },
  });
  const rate = `fps=${plan.fps.num}/${plan.fps.den}:start_time=0`;
  const graph = [
    command.filterGraph,
    `[v0]${rate},settb=AVTB,split[r0][r1]`,
    `[1:V:0]${rate},settb=AVTB,split[m0][m1]`,
    "[m0][r0]psnr=shortest=1[p]",
    "[m1][r1]ssim=shortest=1[q]",
  ].join(";");
  const limit = ["-t", String(seconds)];
  const inputs = [...inputOptionsOf(command.inputOptions), ...limit, "-i", sourceUrl, ...limit, "-i", made];
  const ends = "-map [p] -f null - -map [q] -f null -".split(" ");
  const args = [...QUIET, "-v", "info", ...inputs, "-filter_complex", graph, ...ends];
  const { stderr } = await exec(binaries.ffmpegPath, args, { maxBuffer: MAX_OUTPUT_BYTES });
  return readLikeness(stderr);
}

/** What concerns how the source is read, without what concerns the encode's own reports and its sound. */
function inputOptionsOf(options: readonly string[]): string[] {
  const dropped = new Set(["-filter_complex", "-progress", "-v", "-max_error_rate"]);
  const flags = new Set(["-hide_banner", "-nostdin", "-nostats"]);
  return options.filter(
    (option, i) => !dropped.has(option) && !dropped.has(options[i - 1] ?? "") && !flags.has(option),
  );
}

export function readLikeness(stderr: string): PictureLikeness {
  const psnr = /PSNR .*average:(\S+) min:(\S+)/.exec(stderr);
  const db = (text: string | undefined) => (text === "inf" ? 100 : Number(text ?? Number.NaN));
  const ssim = Number(/SSIM .*All:([\d.]+)/.exec(stderr)?.[1] ?? Number.NaN);
  const likeness = { psnrDb: db(psnr?.[1]), worstPsnrDb: db(psnr?.[2]), ssim };
  if (Object.values(likeness).some(Number.isNaN)) throw new Error(`no likeness: ${stderr.trim().split("\n").at(-1)}`);
  return likeness;
}
