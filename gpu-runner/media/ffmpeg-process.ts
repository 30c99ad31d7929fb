/**
 * Runs an encode command. The only file that knows fluent-ffmpeg: nothing is set that makes it probe the source itself
 * (a `progress` listener would), and its error message, which drops the encoders' own lines, is not relied on.
 */
import ffmpeg from "fluent-ffmpeg";
import { tiedToUs } from "./death-tie.ts";
import type { EncodeCommand } from "./encode-command.ts";

export type FfmpegProgress = {
  frame: number;
  fps: number;
  outTimeSeconds: number;
  speed: number;
  droppedFrames: number;
};

export type FfmpegExit = {
  /** null when killed by a signal or never started. */
  code: number | null;
  /** What it said last, without the progress lines. */
  stderrTail: string[];
  /** Lines that told of something in the source that could not be decoded or found. */
  decodeErrors: number;
  /** Of all outputs together, to keep a constant rate. */
  droppedFrames: number;
};

export type FfmpegProcess = {
  /** Resolves however it ends; never rejects. */
  exited: Promise<FfmpegExit>;
  /** At once: ffmpeg asked politely would end its outputs as if they were whole. */
  kill: () => void;
};

const STDERR_TAIL_LINES = 40;
/**
 * Of a decoder, or of a demuxer that lost its way and looks for the next packet. Version 7 says it in other words; those of 2018
 * do not say that a picture came out corrupt, only what was wrong in it.
 */
const DECODE_ERROR =
  /^Error while decoding stream #0:|Error submitting packet to decoder|Decoding error|corrupt (decoded frame|input packet)|Packet corrupt|Read error at pos|as first byte of an EBML|EBML block data error|max resync size reached|Packet mismatch|PES packet size mismatch|edit unit sync lost|ac-tex damaged|error while decoding MB/;

export function startFfmpeg(
  command: EncodeCommand,
  ffmpegPath: string,
  onProgress: (progress: FfmpegProgress) => void,
): FfmpegProcess {
  const run = fluentCommand(command, ffmpegPath);
  const stderrTail: string[] = [];
  let decodeErrors = 0;
  let droppedFrames = 0;
  const readLine = progressReader((progress) => {
    droppedFrames = progress.droppedFrames;
    onProgress(progress);
  });
  let killed = false;

  const exited = new Promise<FfmpegExit>((resolve) => {
    run.on("start", () => {
      if (killed) run.kill("SIGKILL");
    });
    run.on("stderr", (line: string) => {
      if (readLine(line) || line.trim() === "") return;
      if (DECODE_ERROR.test(line)) decodeErrors++;
      stderrTail.push(line.slice(0, 500));
      if (stderrTail.length > STDERR_TAIL_LINES) stderrTail.shift();
    });
    run.on("end", () => resolve({ code: 0, stderrTail, decodeErrors, droppedFrames }));
    run.on("error", (error: Error) => {
      const code = /exited with code (\d+)/.exec(error.message)?.[1];
      // With a status there is nothing to add to it: what follows it there are progress lines.
      if (stderrTail.length === 0 && code === undefined) stderrTail.push(error.message.slice(0, 500));
      resolve({ code: code === undefined ? null : Number(code), stderrTail, decodeErrors, droppedFrames });
    });
  });
  run.run();
  return {
    exited,
    kill: () => {
      killed = true;
      run.kill("SIGKILL");
    },
  };
}

export function fluentCommand(command: EncodeCommand, ffmpegPath: string): ffmpeg.FfmpegCommand {
  const run = ffmpeg({ source: command.input, stdoutLines: STDERR_TAIL_LINES });
  const { program, leading } = tiedToUs(ffmpegPath);
  run.setFfmpegPath(program);
  adaptSpawn(run, leading);
  // Spread, as one array argument would be split at spaces.
  run.inputOptions(...spread(command.inputOptions));
  run.complexFilter(command.filterGraph);
  for (const output of command.outputs) {
    run.output(output.target);
    run.outputOptions(...spread(output.options));
  }
  return run;
}

/**
 * Puts `leading` before ffmpeg's own arguments. And when the process cannot be started at all, fluent-ffmpeg reads from
 * output buffers that were never made and brings the whole runner down: empty ones stand in.
 */
function adaptSpawn(run: object, leading: readonly string[]): void {
  const inner = run as { _spawnFfmpeg: (...args: unknown[]) => void };
  const spawn = inner._spawnFfmpeg.bind(run);
  const noLines = { get: () => "" };
  inner._spawnFfmpeg = (own, ...rest) => {
    const ended = rest.pop() as (error: unknown, stdout: unknown, stderr: unknown) => void;
    spawn(
      [...leading, ...(own as string[])],
      ...rest,
      (error: unknown, stdout: unknown = noLines, stderr: unknown = noLines) => ended(error, stdout, stderr),
    );
  };
}

function spread(options: string[]): [string[]] {
  return options as unknown as [string[]];
}

/** Understands `-progress`: key=value lines, each block closed by `progress=`. Returns whether the line was one. */
export function progressReader(onProgress: (progress: FfmpegProgress) => void): (line: string) => boolean {
  let block = new Map<string, string>();
  return (line) => {
    const match = /^([a-z][a-z0-9_]*)=\s*(\S*)$/.exec(line.trim());
    if (!match?.[1]) return false;
    block.set(match[1], match[2] ?? "");
    if (match[1] !== "progress") return true;
    const number = (key: string) => {
      const value = Number.parseFloat(block.get(key) ?? "");
      return Number.isFinite(value) ? value : 0;
    };
    onProgress({
      frame: number("frame"),
      fps: number("fps"),
      // In microseconds, whatever its name says.
      outTimeSeconds: Math.max(0, number("out_time_ms") / 1_000_000),
      speed: number("speed"),
      droppedFrames: number("drop_frames"),
    });
    block = new Map();
    return true;
  };
}
