/** Reads and decodes a source that had decode errors once more, without encoding, to find what of it is lost. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { heardSound } from "../../../schemas/heard-sound.ts";
import type { SourceProbe } from "../../../schemas/media-probe.ts";
import { tiedToUs } from "../death-tie.ts";
import { type Dialect, SOURCE_LIMITS } from "../encode-command.ts";
import { NO_AUTOROTATE, pictureInput } from "../picture-graph.ts";
import { startOfPicture } from "../sound-graph.ts";
import type { LengthTrust } from "../verify.ts";
import { type DamageReport, judgePass, PassReader } from "./damage.ts";

export type DamagePassOptions = {
  source: SourceProbe;
  length: LengthTrust;
  ffmpegPath: string;
  dialect: Pick<Dialect, "frameRateModeOption">;
  url: string;
  signal: AbortSignal;
};

/** Decoding is faster than the film is long, but for the largest films on the smallest machines. */
const TIMEOUT_MS = { least: 5 * 60_000, aSecond: 4_000 };
/** A whole number, as timers want it. */
export function passTimeoutMs({ durationSeconds }: Pick<SourceProbe, "durationSeconds">): number {
  return Math.ceil(TIMEOUT_MS.least + durationSeconds * TIMEOUT_MS.aSecond);
}

/** By their index each packet is known. */
const INDEXED = /^mov\b/;
const BEGINS_WITH_KEYFRAME = /^(mov|matroska|mxf|avi)\b/;
/** Below this share, it may be that every picture is slightly damaged: then what is concealed counts as decoded. */
export const LEAST_PICTURE_SHARE = 0.05;

/**
 * What is lost, at first by the strictest measure: a picture of which a part was concealed is damaged.
 * @returns null where the pass did not come to its end. Throws the signal's reason.
 */
export async function findDamage(options: DamagePassOptions): Promise<DamageReport | null> {
  // Where frames are decoded by several threads, one error is found again in every later frame.
  const strict = await pass(options, ["-err_detect", "explode", "-thread_type", "slice"]);
  if (strict !== null && strict.pictureShare >= LEAST_PICTURE_SHARE) return strict;
  return await pass(options, []);
}

async function pass(options: DamagePassOptions, strictness: readonly string[]): Promise<DamageReport | null> {
  const { source, length, signal } = options;
  const tracks = heardSound(source.audio)?.tracks ?? [];
  const { program, leading } = tiedToUs(options.ffmpegPath);
  const child = spawn(program, [...leading, ...passArguments(options, strictness, tracks)], {
    stdio: ["ignore", "pipe", "ignore"],
    signal: AbortSignal.any([signal, AbortSignal.timeout(passTimeoutMs(source))]),
    killSignal: "SIGKILL",
  });
  const reader = new PassReader();
  createInterface({ input: child.stdout }).on("line", (line) => reader.line(line));
  const code = await new Promise<number | null>((resolve) => {
    child.on("error", () => resolve(null));
    child.on("close", resolve);
  });
  signal.throwIfAborted();
  if (code !== 0) return null;
  const startSeconds = startOfPicture(source) ?? 0;
  return judgePass(reader.tracks(tracks.length), {
    frameSeconds: source.fps.den / source.fps.num,
    startSeconds,
    expectedEndSeconds: length === "known" ? source.videoDurationSeconds : 0,
    movesUp: /^avi\b/.test(source.container),
    mayLackPackets: !source.vfr && !INDEXED.test(source.container),
    isExcerpt: !BEGINS_WITH_KEYFRAME.test(source.container),
  });
}

export function passArguments(
  { source, dialect, url }: Pick<DamagePassOptions, "source" | "dialect" | "url">,
  strictness: readonly string[],
  soundTracks: readonly number[],
): string[] {
  const picture = pictureInput(source).slice(1, -1);
  const sound = soundTracks.flatMap((track) => ["-map", `0:a:${track}`, "-map", `0:a:${track}`]);
  const codecs = soundTracks.flatMap((_, i) => [`-c:a:${2 * i}`, "copy", `-c:a:${2 * i + 1}`, "pcm_s16le"]);
  return [
    ...["-hide_banner", "-nostdin", "-nostats", "-v", "quiet", "-max_error_rate", "1", ...strictness],
    ...[...SOURCE_LIMITS, ...NO_AUTOROTATE, "-i", url, "-map", picture, "-map", picture, ...sound],
    // A picture "encoded" as itself costs nothing, and its time is what is asked for.
    ...["-c:v:0", "copy", "-copyinkf", "-c:v:1", "wrapped_avframe", "-enc_time_base:v:1", "1/90000", ...codecs],
    ...[dialect.frameRateModeOption, "passthrough", "-max_muxing_queue_size", "4096", "-f", "framecrc", "pipe:1"],
  ];
}

/** A track of which nothing decodes would keep ffmpeg from writing anything. */
export function withoutLostSound(source: SourceProbe, { soundShares }: DamageReport): SourceProbe {
  const tracks = heardSound(source.audio)?.tracks ?? [];
  const lost = new Set(tracks.filter((_, i) => soundShares[i] === 0));
  if (lost.size === 0) return source;
  return {
    ...source,
    audio: source.audio.map((track, i) => (lost.has(i) ? { ...track, codec: "unknown" } : track)),
  };
}

/** In frames. Clocks round, and headers state lengths that no number of frames has. */
const LEAST_HELD = 0.75;

/** How long the last picture has to stand at the end; 0 where it is the source's last. */
export function heldSeconds({ fps }: SourceProbe, { trackEndSeconds, pictureEndSeconds }: DamageReport): number {
  const seconds = trackEndSeconds - pictureEndSeconds;
  return seconds > (LEAST_HELD * fps.den) / fps.num ? seconds : 0;
}
