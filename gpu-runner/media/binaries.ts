/**
 * Which ffmpeg and ffprobe this runner uses: the ones it was told of, else the system's, else the (old, CPU-only) ones
 * that npm ships. Fails only when there is none.
 */
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { promisify } from "node:util";
import { z } from "zod";
import type { Dialect } from "./encode-command.ts";

export type Binaries = {
  ffmpegPath: string;
  ffprobePath: string;
  /** As ffmpeg gives it, "5.1.9-0+deb12u1". */
  version: string;
  dialect: Dialect;
  /** For the log; empty when all is as it should be. */
  warnings: string[];
};

const exec = promisify(execFile);
const VERSION_TIMEOUT_MS = 15_000;
/** libavcodec of ffmpeg 5.1. Builds from git have no version number that compares. */
const FPS_MODE_SINCE = { major: 59, minor: 37 };

type Candidate = { path: string; origin: "environment" | "system" | "npm" };

export async function findBinaries(env: NodeJS.ProcessEnv): Promise<Binaries> {
  const [ffmpeg, ffprobe] = await Promise.all([
    find("ffmpeg", "FFMPEG_PATH", env),
    find("ffprobe", "FFPROBE_PATH", env),
  ]);
  const isFallback = ffmpeg.origin === "npm" || ffprobe.origin === "npm";
  return {
    ffmpegPath: ffmpeg.path,
    ffprobePath: ffprobe.path,
    version: /^ff\w+ version (\S+)/.exec(ffmpeg.banner)?.[1] ?? "unknown",
    dialect: readDialect(ffmpeg.banner),
    warnings: isFallback ? ["using the old ffmpeg that npm ships, without NVENC: install ffmpeg 7"] : [],
  };
}

async function find(name: "ffmpeg" | "ffprobe", variable: string, env: NodeJS.ProcessEnv) {
  const told = env[variable];
  // What was set on purpose must work: falling back from it in silence would hide the mistake.
  const candidates: Candidate[] = told
    ? [{ path: told, origin: "environment" }]
    : [{ path: name, origin: "system" }, ...npmFallback(name)];
  const failures: string[] = [];
  for (const candidate of candidates) {
    try {
      const { stdout } = await exec(candidate.path, ["-version"], { timeout: VERSION_TIMEOUT_MS, env });
      if (stdout.startsWith(`${name} version`)) return { ...candidate, banner: stdout };
      failures.push(`${candidate.path} is not ${name}`);
    } catch (error) {
      failures.push(`${candidate.path}: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`);
    }
  }
  throw new Error(`no ${name} found (${failures.join("; ")}); install ffmpeg or set ${variable}`);
}

function npmFallback(name: "ffmpeg" | "ffprobe"): Candidate[] {
  try {
    const required: unknown = createRequire(import.meta.url)(`@${name}-installer/${name}`);
    return [{ path: z.object({ path: z.string() }).parse(required).path, origin: "npm" }];
  } catch {
    // An optional dependency: not there on a platform that it has no build for.
    return [];
  }
}

/** `banner`: what `ffmpeg -version` prints. */
export function readDialect(banner: string): Dialect {
  const match = /^libavcodec\s+(\d+)\.\s*(\d+)/m.exec(banner);
  const [major, minor] = [Number(match?.[1] ?? 0), Number(match?.[2] ?? 0)];
  const modern = major > FPS_MODE_SINCE.major || (major === FPS_MODE_SINCE.major && minor >= FPS_MODE_SINCE.minor);
  return { frameRateModeOption: modern ? "-fps_mode" : "-vsync", bFrameReferences: true };
}
