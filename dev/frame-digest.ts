/** Decodes a stretch of a file with ffmpeg and sums up every video frame of it: its time and the MD5 of its picture. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Binaries } from "../gpu-runner/media/binaries.ts";
import type { Segment } from "./render-plan.ts";

/** Equal digests: the same frames, in the same order, at the same times. */
export type FrameDigest = { frames: number; sha256: string };

const keptStderr = 2_000;
const decodeTimeoutMs = 6 * 60 * 60_000;

export function digestCommand(
  { dialect }: Pick<Binaries, "dialect">,
  path: string,
  { startSeconds, endSeconds }: Segment,
): string[] {
  return [
    ..."-hide_banner -nostats -nostdin -loglevel fatal".split(" "),
    // Behind the ranges lie zeros, which ffmpeg decodes until something tells it that the stretch is over.
    ..."-max_error_rate 1".split(" "),
    ...["-ss", `${startSeconds}`, "-t", `${endSeconds - startSeconds}`, "-i", path],
    ...["-map", "0:V:0", dialect.frameRateModeOption, "passthrough", "-f", "framemd5", "-"],
  ];
}

/** @throws when ffmpeg fails, or decodes no frame */
export async function digestFrames(
  binaries: Binaries,
  path: string,
  segment: Segment,
  { onFrame, signal }: { onFrame(): void; signal: AbortSignal },
): Promise<FrameDigest> {
  const child = spawn(binaries.ffmpegPath, digestCommand(binaries, path, segment), {
    stdio: ["ignore", "pipe", "pipe"],
    signal: AbortSignal.any([signal, AbortSignal.timeout(decodeTimeoutMs)]),
    killSignal: "SIGKILL",
  });
  const ended = once(child, "close");
  ended.catch(() => undefined);
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(0, keptStderr);
  });
  const hash = createHash("sha256");
  let frames = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === "" || line.startsWith("#")) continue;
    hash.update(`${line}\n`);
    frames += 1;
    onFrame();
  }
  const [code, killedBy] = (await ended) as [number | null, string | null];
  if (code !== 0) throw new Error(`ffmpeg ended with ${killedBy ?? code}: ${stderr.trim()}`);
  if (frames === 0) throw new Error("ffmpeg decoded no frame");
  return { frames, sha256: hash.digest("hex") };
}
