/**
 * Decodes the beginning and the end of a finished rendition, through the header and the tables that were written for it:
 * what a stream's encoder got right may still be found at the wrong place in a file.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { openExcerptServer } from "./excerpt-server.ts";
import type { Excerpt, PictureGroup } from "./mp4/excerpt.ts";

export type ProofOptions = { ffprobePath: string; timeoutMs: number; signal: AbortSignal };

type ExecError = { code?: unknown; signal?: NodeJS.Signals | null; killed?: boolean; stderr?: string };

const exec = promisify(execFile);
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
/** Headers state a late start in milliseconds. */
const TIME_TOLERANCE_SECONDS = 0.0015;

/** What is wrong with it, in words; null when all frames came out, each at its time. Throws the signal's reason. */
export async function proveExcerpt(excerpt: Excerpt, options: ProofOptions): Promise<string | null> {
  const server = await openExcerptServer(excerpt);
  try {
    for (const group of excerpt.groups) {
      const wrong = await decode(group, server.url, options);
      if (wrong) return `its ${group.seekSeconds === null ? "beginning" : "end"} does not decode: ${wrong}`;
    }
    return null;
  } finally {
    await server.close();
  }
}

async function decode(group: PictureGroup, url: string, options: ProofOptions): Promise<string | null> {
  const { ffprobePath, timeoutMs, signal } = options;
  try {
    const { stdout, stderr } = await exec(ffprobePath, proofArguments(group, url), {
      timeout: timeoutMs,
      killSignal: "SIGKILL",
      maxBuffer: MAX_OUTPUT_BYTES,
      signal,
    });
    const complaint = firstLine(stderr);
    return complaint ?? compareTimes(group.frameSeconds, stdout);
  } catch (error) {
    signal.throwIfAborted();
    const { code, signal: by, killed, stderr } = error as ExecError;
    return killed ? "it took too long" : (firstLine(stderr ?? "") ?? `ffprobe ended with ${String(by ?? code)}`);
  }
}

export function proofArguments({ seekSeconds, samples, frameSeconds }: PictureGroup, url: string): string[] {
  // Seeking looks for the keyframe at or before a time, by when frames are decoded, which is never later than shown.
  const interval = seekSeconds === null ? `%+#${samples}` : `${frameSeconds.at(-1)?.toFixed(6)}`;
  return [
    ...["-hide_banner", "-v", "error", "-threads", "1", "-err_detect", "explode"],
    ...["-protocol_whitelist", "http,tcp", "-format_whitelist", "mov,mp4"],
    // The header says all there is to know of the streams; looking for more would only read what is not there.
    ...["-analyzeduration", "1", "-fpsprobesize", "0"],
    ...["-select_streams", "V:0", "-read_intervals", interval],
    ...["-show_entries", "frame=best_effort_timestamp_time", "-of", "csv=p=0", url],
  ];
}

function firstLine(text: string): string | null {
  return text.trim().split("\n")[0]?.slice(0, 300) || null;
}

function compareTimes(expected: readonly number[], stdout: string): string | null {
  const times = stdout
    .split("\n")
    .map((line) => Number.parseFloat(line))
    .filter(Number.isFinite);
  if (times.length !== expected.length) return `${times.length} frames came out of ${expected.length}`;
  const at = times.findIndex((time, i) => Math.abs(time - (expected[i] ?? 0)) > TIME_TOLERANCE_SECONDS);
  return at < 0 ? null : `frame ${at + 1} of ${times.length} is shown at ${times[at]} s, not at ${expected[at]} s`;
}
