/** The runner's settings: flags for what a person tries out, environment for what a service has; secrets only there. */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { parseArgs } from "node:util";
import { z } from "zod";
import { RunnerId } from "../schemas/runner-protocol.ts";
import { DECODE_SETTINGS, ENCODER_SETTINGS } from "./media/encoder-probe.ts";

const baseUrl = z
  .url({ protocol: /^https?$/, abort: true })
  .refine((url) => new URL(url).search === "" && new URL(url).username === "", "must have no query string and no user")
  .transform((url) => url.replace(/\/+$/, ""));
const secret = z.string().min(8, "must have at least 8 characters");
/** Of digits alone: an empty text, as a shell makes it of a variable that is not set, would pass for 0. */
const integer = (min: number, max: number) =>
  z
    .string()
    .refine(
      (text) => /^\d+$/.test(text) && Number(text) >= min && Number(text) <= max,
      `must be a whole number from ${min} to ${max}`,
    )
    .transform(Number);

const Environment = z.object({
  MMF_API_URL: baseUrl,
  MMF_RUNNER_TOKEN: secret,
  MMF_PULL_TOKEN: z.string().optional(),
  MMF_RUNNER_ID: RunnerId.optional(),
  FFMPEG_ENCODER: z.enum(ENCODER_SETTINGS).default("auto"),
  FFMPEG_DECODE: z.enum(DECODE_SETTINGS).default("auto"),
  MMF_EXIT_WITH_PARENT: z
    .enum(["0", "1"])
    .default("0")
    .transform((value) => value === "1"),
});

const AnyFlags = z.object({
  once: z.boolean().default(false),
  drain: z.boolean().default(false),
  "rush-only": z.boolean().default(false),
  concurrency: integer(1, 16).default(1),
  "poll-ms": integer(50, 60_000).default(1_000),
  "log-level": z.enum(["trace", "debug", "info", "warn", "error"]).default("info"),
  "health-port": integer(0, 65_535).optional(),
  "health-host": z.string().min(1).default("127.0.0.1"),
});

const Flags = AnyFlags.refine(({ once, drain }) => !(once && drain), {
  path: ["drain"],
  message: "does not go together with --once",
});

export type Settings = {
  apiUrl: string;
  runnerToken: string;
  /** Of runners that pulled by themselves: no longer used, and it opens every queue of the account. */
  hasOldPullToken: boolean;
  runnerId: string;
  encoder: (typeof ENCODER_SETTINGS)[number];
  decode: (typeof DECODE_SETTINGS)[number];
  exitWithParent: boolean;
  once: boolean;
  drain: boolean;
  rushOnly: boolean;
  concurrency: number;
  pollMs: number;
  logLevel: "trace" | "debug" | "info" | "warn" | "error";
  health: { port: number; host: string } | null;
};

/** The caller prints it and exits with 2. Never quotes a value. */
export class SettingsError extends Error {
  override name = "SettingsError";
}

export const helpText = `Usage: node gpu-runner/main.ts [options]

Pulls transcode jobs, encodes each with one ffmpeg, and streams every rendition into its own multipart upload.

Options
  --once              run one job, then exit (0 when it is done)
  --drain             pull until both queues are empty at once, end the jobs that run, exit 0
  --rush-only         rush jobs alone (priority 70 and above)
  --concurrency N     jobs at once (1)
  --poll-ms N         pause between pulls that found nothing, each of which waits at the API (1000)
  --log-level LEVEL   trace, debug, info, warn or error (info)
  --health-port N     serve /healthz and /metrics there (off)
  --health-host HOST  the address it listens on (127.0.0.1)
  --help

Environment
  MMF_API_URL         the API, https://…
  MMF_RUNNER_TOKEN    bearer token with the role runner
  MMF_RUNNER_ID       this runner's name, stable over restarts (host name and a random suffix)
  FFMPEG_ENCODER      auto, nvenc or x264 (auto: NVENC if it encodes, else libx264)
  FFMPEG_DECODE       auto or cpu (auto: with NVENC, on the card where that is proven)
  FFMPEG_PATH, FFPROBE_PATH   instead of the ones on PATH
  MMF_EXIT_WITH_PARENT        1: stop when standard input closes

Signals
  SIGUSR2             pull no more, end the jobs that run, exit 0
  SIGTERM, SIGINT,
  SIGHUP              stop the jobs that run, give them back to the queue, exit within 5 seconds
`;

/** Out of the environment that children inherit: ffmpeg reads hostile files, and needs no token. */
export function forgetSecrets(env: NodeJS.ProcessEnv): void {
  delete env.MMF_RUNNER_TOKEN;
  delete env.MMF_PULL_TOKEN;
}

/** null: help was asked for. Throws SettingsError naming every wrong setting. */
export function readSettings(args: readonly string[], env: NodeJS.ProcessEnv): Settings | null {
  const raw = parseFlags(args);
  if (raw.help) return null;
  const flags = Flags.safeParse(raw);
  const environment = Environment.safeParse(
    Object.fromEntries(Object.entries(env).filter(([, value]) => value !== "")),
  );
  if (!flags.success || !environment.success) {
    const flagIssues = (flags.error?.issues ?? []).map((issue) => `--${issue.path.join(".")}: ${issue.message}`);
    const envIssues = (environment.error?.issues ?? []).map((issue) => `${issue.path.join(".")}: ${describe(issue)}`);
    throw new SettingsError([...flagIssues, ...envIssues].join("\n"));
  }
  const { data: flag } = flags;
  const { data: variable } = environment;
  return {
    apiUrl: variable.MMF_API_URL,
    runnerToken: variable.MMF_RUNNER_TOKEN,
    hasOldPullToken: variable.MMF_PULL_TOKEN !== undefined,
    runnerId: variable.MMF_RUNNER_ID ?? defaultRunnerId(hostname(), randomBytes(3).toString("hex")),
    encoder: variable.FFMPEG_ENCODER,
    decode: variable.FFMPEG_DECODE,
    exitWithParent: variable.MMF_EXIT_WITH_PARENT,
    once: flag.once,
    drain: flag.drain,
    rushOnly: flag["rush-only"],
    concurrency: flag.concurrency,
    pollMs: flag["poll-ms"],
    logLevel: flag["log-level"],
    health: flag["health-port"] === undefined ? null : { port: flag["health-port"], host: flag["health-host"] },
  };
}

export function defaultRunnerId(host: string, suffix: string): string {
  const safe = host.replace(/[^A-Za-z0-9._-]/g, "-").slice(0, 64 - suffix.length - 1);
  return `${safe === "" ? "runner" : safe}-${suffix}`;
}

function describe(issue: z.core.$ZodIssue): string {
  return issue.code === "invalid_type" ? "is not set" : issue.message;
}

function parseFlags(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        help: { type: "boolean", short: "h" },
        once: { type: "boolean" },
        drain: { type: "boolean" },
        "rush-only": { type: "boolean" },
        concurrency: { type: "string" },
        "poll-ms": { type: "string" },
        "log-level": { type: "string" },
        "health-port": { type: "string" },
        "health-host": { type: "string" },
      },
    });
    return values;
  } catch (error) {
    throw new SettingsError(error instanceof Error ? error.message : String(error));
  }
}
