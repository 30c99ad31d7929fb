/** The demo's own uses of ffmpeg: a clip to send, a picture's worth of facts, and decoding every frame to prove it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rename, rm } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as WebReadableStream } from "node:stream/web";
import { z } from "zod";
import type { Binaries } from "../gpu-runner/media/binaries.ts";

const keptStderr = 2_000;

type Run = { process: ChildProcess; done: Promise<{ stdout: string; stderr: string }> };

function run(path: string, args: readonly string[], timeoutMs: number, stdin: "pipe" | "ignore"): Run {
  const child = spawn(path, args, { stdio: [stdin, "pipe", "pipe"], signal: AbortSignal.timeout(timeoutMs) });
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    // Progress reports repeat; only the last of them counts.
    stdout = (stdout + chunk.toString()).slice(-16_000);
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(0, keptStderr);
  });
  const done = (async () => {
    const [code, signal] = (await once(child, "close")) as [number | null, string | null];
    if (code !== 0) throw new Error(`${path} ended with ${signal ?? code}: ${stderr.trim()}`);
    return { stdout, stderr };
  })();
  return { process: child, done };
}

export type ClipShape = {
  width: number;
  height: number;
  seconds: number;
  /** Strength of the grain, 0–100: grain makes large files that take long to encode. */
  grain?: number;
};

/** Moving test picture at 25 frames a second, with a tone. Whole or not there, since a later run may send it again. */
export async function makeClip(binaries: Binaries, path: string, shape: ClipShape): Promise<void> {
  const { width, height, seconds, grain = 0 } = shape;
  const unfinished = `${path}.${process.pid}.new`;
  const card = `testsrc2=size=${width}x${height}:rate=25:duration=${seconds}`;
  const { done } = run(
    binaries.ffmpegPath,
    [
      ..."-hide_banner -loglevel error -y -f lavfi -i".split(" "),
      grain === 0 ? card : `${card},noise=alls=${grain}:allf=t`,
      ...`-f lavfi -i sine=frequency=440:sample_rate=48000:duration=${seconds} -shortest`.split(" "),
      ..."-c:v libx264 -preset ultrafast -crf 23 -pix_fmt yuv420p -c:a aac -b:a 128k -movflags +faststart -f mp4".split(
        " ",
      ),
      unfinished,
    ],
    180_000,
    "ignore",
  );
  try {
    await done;
    await rename(unfinished, path);
  } finally {
    await rm(unfinished, { force: true });
  }
}

const decodeTimeoutMs = 60 * 60_000;

/**
 * Decodes every stream of what it is given, picture and sound.
 * @returns the number of video frames
 * @throws when ffmpeg finds a single error
 */
async function decode(binaries: Binaries, input: string, feed: WebReadableStream<Uint8Array> | null): Promise<number> {
  const { process: child, done } = run(
    binaries.ffmpegPath,
    [
      ..."-hide_banner -nostats -loglevel error -xerror -err_detect explode".split(" "),
      ...["-i", input, "-map", "0:v:0", "-map", "0:a?"],
      ...[binaries.dialect.frameRateModeOption, "passthrough", "-progress", "pipe:1", "-f", "null", "-"],
    ],
    decodeTimeoutMs,
    feed === null ? "ignore" : "pipe",
  );
  if (feed !== null && child.stdin !== null) {
    // ffmpeg closing early breaks the pipe; its own words, below, say why.
    await Promise.allSettled([pipeline(Readable.fromWeb(feed), child.stdin), done]);
  }
  const { stdout, stderr } = await done;
  if (stderr.trim() !== "") throw new Error(`decoding found errors: ${stderr.trim().split("\n")[0]}`);
  const frames = [...stdout.matchAll(/^frame=\s*(\d+)$/gm)].at(-1)?.[1];
  if (frames === undefined) throw new Error("ffmpeg decoded no frame");
  return Number(frames);
}

export async function countFramesOfFile(binaries: Binaries, path: string): Promise<number> {
  return await decode(binaries, path, null);
}

/** Through a pipe: it proves that the file plays while it arrives, and no signed URL shows in `ps`. */
export async function countFramesOfStream(binaries: Binaries, stream: WebReadableStream<Uint8Array>): Promise<number> {
  return await decode(binaries, "pipe:0", stream);
}

const Rates = z.object({ streams: z.array(z.object({ r_frame_rate: z.string(), avg_frame_rate: z.string() })).min(1) });

/** Whether the ladder keeps this file's frames one for one: a constant rate that no rung has to reduce. */
export async function keepsEveryFrame(binaries: Binaries, path: string, maxFps: number): Promise<boolean> {
  const { done } = run(
    binaries.ffprobePath,
    [..."-v error -select_streams v:0 -show_entries stream=r_frame_rate,avg_frame_rate -of json".split(" "), path],
    30_000,
    "ignore",
  );
  const [stream] = Rates.parse(JSON.parse((await done).stdout)).streams;
  const ratio = (text: string) => {
    const [num, den] = text.split("/").map(Number);
    return (num ?? 0) / (den || 1);
  };
  const [base, average] = [ratio(stream?.r_frame_rate ?? ""), ratio(stream?.avg_frame_rate ?? "")];
  return base > 0 && base <= maxFps * 1.001 && Math.abs(base - average) / base < 0.001;
}
