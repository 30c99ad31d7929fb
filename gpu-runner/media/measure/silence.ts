/**
 * Which channels of competing sound tracks hold nothing: a recorder with sixteen inputs and two microphones takes no level
 * away from these. Peaks are measured in at most twenty windows of a second, only where there is something to choose.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { AudioTrack } from "../../../schemas/audio-track.ts";
import { canDecode } from "../../../schemas/heard-sound.ts";
import { gainsOf } from "../../../schemas/sound-layout.ts";
import { SOURCE_LIMITS } from "../encode-command.ts";

const exec = promisify(execFile);

export type SilenceOptions = {
  ffmpegPath: string;
  url: string;
  /** For all windows; after it nothing is called silent. */
  timeoutMs: number;
  signal: AbortSignal;
};

type Window = { fromSeconds: number; seconds: number };

const MOST_WINDOWS = 20;
/** One window for so much film: of a minute five are looked at. Each costs a few megabytes more than it needs. */
const SECONDS_A_WINDOW = 12;
/** The noise of a preamplifier to which nothing is connected lies below. */
const SILENT_BELOW_DB = -60;

/** @returns the tracks, each with its silent channels; as they were where nothing was to be measured, or could be */
export async function findSilence(
  audio: readonly AudioTrack[],
  durationSeconds: number,
  options: SilenceOptions,
): Promise<AudioTrack[]> {
  const tracks = audio.flatMap((track, index) => (canDecode(track) ? index : []));
  const peaks = isNeeded(tracks.flatMap((index) => audio[index] ?? []))
    ? await peaksIn(windowsOf(durationSeconds), tracks, options)
    : null;
  if (peaks === null) return [...audio];
  return audio.map((track, index) => {
    const mine = peaks.get(index);
    const channels = Array.from({ length: track.channels }, (_, channel) => channel);
    const silent = channels.filter((channel) => (mine?.[channel] ?? Number.NEGATIVE_INFINITY) < SILENT_BELOW_DB);
    return tracks.includes(index) && silent.length > 0 ? { ...track, silentChannels: silent } : track;
  });
}

function isNeeded(tracks: readonly AudioTrack[]): boolean {
  return tracks.length > 1 || tracks.some(({ layout, channels }) => gainsOf(layout, channels) === null);
}

/** A short film whole, a longer one at even distances. */
export function windowsOf(durationSeconds: number): Window[] {
  if (durationSeconds <= MOST_WINDOWS) return [{ fromSeconds: 0, seconds: MOST_WINDOWS }];
  const count = Math.min(MOST_WINDOWS, Math.ceil(durationSeconds / SECONDS_A_WINDOW));
  const apart = durationSeconds / count;
  return Array.from({ length: count }, (_, i) => ({ fromSeconds: (i + 0.5) * apart - 0.5, seconds: 1 }));
}

/** By track and channel, in decibels of full scale; null where a window could not be read in time. */
async function peaksIn(
  windows: readonly Window[],
  tracks: readonly number[],
  { ffmpegPath, url, timeoutMs, signal }: SilenceOptions,
): Promise<Map<number, number[]> | null> {
  const peaks = new Map<number, number[]>();
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  for (const window of windows) {
    const args = levelArguments(window, tracks, url);
    const run = await exec(ffmpegPath, args, { signal: deadline, maxBuffer: 4 * 1024 * 1024 }).catch(() => null);
    signal.throwIfAborted();
    if (run === null) return null;
    for (const [track, levels] of readPeaks(run.stderr)) {
      const before = peaks.get(track) ?? [];
      peaks.set(
        track,
        levels.map((level, channel) => Math.max(level, before[channel] ?? level)),
      );
    }
  }
  return peaks.size > 0 ? peaks : null;
}

function levelArguments({ fromSeconds, seconds }: Window, tracks: readonly number[], url: string): string[] {
  const graph = tracks.map((track) => `[0:a:${track}]astats@t${track}[o${track}]`).join(";");
  return [
    ...["-hide_banner", "-nostdin", "-nostats", ...SOURCE_LIMITS],
    ...["-ss", fromSeconds.toFixed(3), "-t", String(seconds), "-i", url, "-filter_complex", graph],
    ...tracks.flatMap((track) => ["-map", `[o${track}]`, "-f", "null", "-"]),
  ];
}

/** What `astats` prints at its end, a line for each figure of each channel, and then of all together. */
export function readPeaks(log: string): Map<number, number[]> {
  const peaks = new Map<number, number[]>();
  const channels = new Map<number, number>();
  for (const [, track = "", name, value = ""] of log.matchAll(
    /^\[astats@t(\d+) @ \w+\] (?:(Channel|Peak level dB): (\S+)|Overall)/gm,
  )) {
    const index = Number(track);
    if (name === undefined) channels.delete(index);
    else if (name === "Channel") channels.set(index, Number(value) - 1);
    const channel = channels.get(index);
    if (name !== "Peak level dB" || channel === undefined) continue;
    const levels = peaks.get(index) ?? [];
    // "-inf" of nothing but zeros.
    levels[channel] = Number.isFinite(Number(value)) ? Number(value) : Number.NEGATIVE_INFINITY;
    peaks.set(index, levels);
  }
  return peaks;
}
