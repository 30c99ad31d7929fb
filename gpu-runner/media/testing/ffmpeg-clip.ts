/** Runs the system's ffmpeg and ffprobe for tests: makes small clips, and reads files back. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const exec = promisify(execFile);
const MAX_OUTPUT_BYTES = 256 * 1024 * 1024;

export async function makeTestFolder(): Promise<{
  path: string;
  remove: () => Promise<void>;
}> {
  const path = await mkdtemp(join(tmpdir(), "media-test-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

export async function runFfmpeg(args: string[], binary = "ffmpeg"): Promise<void> {
  await exec(binary, ["-v", "error", "-nostdin", "-y", ...args], {
    timeout: 120_000,
  });
}

export async function probeJson(file: string, args: string[], binary = "ffprobe"): Promise<Record<string, unknown>> {
  const { stdout } = await exec(binary, ["-v", "error", "-of", "json", ...args, file], { maxBuffer: MAX_OUTPUT_BYTES });
  return JSON.parse(stdout);
}

/** MD5 of every decoded frame of every track, with its time. */
export async function decodedFrames(file: string): Promise<string> {
  const args = ["-v", "error", "-i", file, "-map", "0:v", "-map", "0:a?", "-f", "framemd5", "-"];
  const { stdout, stderr } = await exec("ffmpeg", args, {
    maxBuffer: MAX_OUTPUT_BYTES,
  });
  if (stderr.trim()) throw new Error(`decoding ${file}: ${stderr}`);
  return stdout;
}

/** How many pictures a player would show of a file, none of them repeated or left out to keep a rate. */
export async function countDecodedFrames(file: string): Promise<number> {
  const args = ["-v", "error", "-i", file, "-map", "0:V:0", "-vsync", "passthrough", "-f", "framemd5", "-"];
  const { stdout } = await exec("ffmpeg", args, { maxBuffer: MAX_OUTPUT_BYTES });
  return stdout.split("\n").filter((line) => line !== "" && !line.startsWith("#")).length;
}
