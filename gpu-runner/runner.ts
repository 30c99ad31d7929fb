/** The runner's process: settings, binaries and encoder at the start; signals, deadlines and the exit code at the end. */
import type { Logger } from "pino";
import { defaultLadder } from "../schemas/ladder.ts";
import { longestPullWaitSeconds } from "../schemas/runner-protocol.ts";
import { type HealthServer, startHealthServer } from "./health-server.ts";
import { ShuttingDown } from "./job/job-failure.ts";
import { jobTiming } from "./job/job-timing.ts";
import { createPullQueue } from "./job/pull-queue.ts";
import { runJob } from "./job/run-job.ts";
import { type LoopEnd, runnerLoop } from "./job/runner-loop.ts";
import { createJobBoard, type JobBoard } from "./job-board.ts";
import { createLiveView, plainProgress, type ViewState } from "./live-view.ts";
import { createLog } from "./log.ts";
import { type Binaries, findBinaries } from "./media/binaries.ts";
import { type EncoderInUse, encoderInUse } from "./media/encoder-in-use.ts";
import { chooseEncoder } from "./media/encoder-probe.ts";
import { removeAbandonedSocketFolders } from "./media/socket-folder.ts";
import { redactor } from "./redact.ts";
import type { RunnerHealth } from "./runner-metrics.ts";
import { forgetSecrets, helpText, readSettings, type Settings, SettingsError } from "./settings.ts";
import { writeWithoutWaiting } from "./terminal-output.ts";

const pullTimeoutMs = 30_000;
const pullBackoff = { baseMs: 1_000, maxMs: 30_000 };
/** Whoever stops a service kills it soon after. */
const shutdownLimitMs = 4_500;
const unfitReminderMs = 5 * 60_000;
/** A lost encoder is looked for again at the first job after this. */
const encoderRetryMs = 5 * 60_000;
const shutOutMs = 5 * 60_000;

const exitCode = { ok: 0, failed: 1, badSettings: 2 } as const;

function settingsOrExit(): Settings {
  try {
    const settings = readSettings(process.argv.slice(2), process.env);
    forgetSecrets(process.env);
    if (settings !== null) return settings;
    process.stdout.write(helpText);
    process.exit(exitCode.ok);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    process.stderr.write(`${error.message}\n\nSee node gpu-runner/main.ts --help\n`);
    process.exit(exitCode.badSettings);
  }
}

type Endings = {
  /** Stop the jobs that run and give them back. */
  shutdown: AbortSignal;
  /** Pull no more, and go when the jobs that run are over. */
  finish: AbortSignal;
};

function listenForSignals(settings: Settings, log: Logger): Endings {
  const shutdown = new AbortController();
  const finish = new AbortController();
  const stop = (why: string) => {
    if (shutdown.signal.aborted) process.exit(exitCode.failed);
    log.info({ why }, "shutting down");
    shutdown.abort(new ShuttingDown(`the runner is shutting down (${why})`));
    setTimeout(() => {
      log.warn("not everything ended in time");
      process.exit(exitCode.failed);
    }, shutdownLimitMs).unref();
  };
  process.on("SIGTERM", () => stop("SIGTERM"));
  process.on("SIGINT", () => stop("SIGINT"));
  // Of a terminal that was closed.
  process.on("SIGHUP", () => stop("SIGHUP"));
  process.on("SIGUSR2", () => {
    log.info("finishing: no more jobs are pulled");
    finish.abort();
  });
  if (settings.exitWithParent) {
    process.stdin.once("end", () => stop("standard input closed"));
    process.stdin.once("error", () => stop("standard input failed"));
    process.stdin.resume();
  }
  return { shutdown: shutdown.signal, finish: finish.signal };
}

async function stayUnfit(reason: string, { shutdown, finish }: Endings, log: Logger): Promise<void> {
  const says = "this runner has stopped pulling jobs; fix it and start it again";
  log.error({ reason }, says);
  const reminder = setInterval(() => log.error({ reason }, says), unfitReminderMs);
  const ended = AbortSignal.any([shutdown, finish]);
  await new Promise<void>((resolve) => {
    if (ended.aborted) resolve();
    ended.addEventListener("abort", () => resolve(), { once: true });
  });
  clearInterval(reminder);
}

type Parts = {
  settings: Settings;
  log: Logger;
  endings: Endings;
  binaries: Binaries;
  encoder: EncoderInUse;
  redact: (text: string) => string;
  board: JobBoard;
  onWait: (reason: string | null) => void;
};

function pullAndRun({ settings, log, endings, binaries, encoder, redact, board, onWait }: Parts): Promise<LoopEnd> {
  const { shutdown } = endings;
  return runnerLoop({
    queue: createPullQueue({
      apiUrl: settings.apiUrl,
      token: settings.runnerToken,
      waitSeconds: settings.drain ? 0 : longestPullWaitSeconds,
      rushOnly: settings.rushOnly,
      timeoutMs: pullTimeoutMs,
      backoff: pullBackoff,
      random: Math.random,
    }),
    concurrency: settings.concurrency,
    once: settings.once,
    drain: settings.drain,
    pollMs: settings.pollMs,
    backoff: pullBackoff,
    shutOutMs,
    onWait,
    ...endings,
    random: Math.random,
    log,
    run: async (message, settle) => {
      const { watch, close } = board.open(message);
      const jobLog = log.child({ fileId: message.fileId, jobId: message.jobId, generation: message.generation });
      const isDue = plainProgress(process.stderr, () => performance.now());
      return runJob({
        message,
        settle,
        api: { url: settings.apiUrl, token: settings.runnerToken },
        runnerId: settings.runnerId,
        encoder: await encoder.forJob(shutdown),
        probeEncoder: () => encoder.probeAgain(),
        onFewerOutputs: (outputsAtOnce) => encoder.tookFewer(outputsAtOnce),
        binaries,
        timing: jobTiming,
        shutdown,
        redact,
        onProgress: ({ renditions: _renditions, ...progress }) => {
          if (isDue()) jobLog.info(progress, "encoding");
        },
        watch,
        log: jobLog,
      }).finally(close);
    },
    onOutcome: ({ fileId, jobId }, outcome) => {
      board.ended(outcome);
      const isError = outcome.type === "failed" || outcome.type === "token-refused";
      log[isError ? "error" : "info"]({ fileId, jobId, outcome }, `job ${outcome.type}`);
    },
  });
}

function viewOf(health: RunnerHealth | null): ViewState | null {
  if (health === null) return null;
  const { runnerId, encoder, board, stopped } = health;
  return { runnerId, encoder: encoder.reason, stopped, jobs: board.running() };
}

async function main(): Promise<number> {
  const settings = settingsOrExit();
  const redact = redactor([settings.runnerToken]);
  // A log that nobody reads any more must not end the encode.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", () => undefined);
    writeWithoutWaiting(stream);
  }
  const write = (line: string) => void process.stdout.write(line);
  const board = createJobBoard(() => performance.now());
  let health: (() => RunnerHealth) | null = null;
  const view = createLiveView(process.stderr, () => viewOf(health?.() ?? null));
  // However it ends, in haste too: what the shell says next begins where the block did.
  process.once("exit", () => view.close());
  const log = createLog({ level: settings.logLevel, redact, beforeLine: () => view.clear(), write });
  const endings = listenForSignals(settings, log);
  let healthServer: HealthServer | null = null;
  try {
    await removeAbandonedSocketFolders();
    const binaries = await findBinaries(process.env);
    for (const warning of binaries.warnings) log.warn(warning);
    if (settings.hasOldPullToken) {
      log.warn("MMF_PULL_TOKEN is no longer used: take it off this machine and revoke it, it opens every queue");
    }
    const probe = () => chooseEncoder(binaries, settings.encoder, defaultLadder.rungs.length, settings);
    const encoder = encoderInUse({
      first: await probe(),
      probe,
      retryAfterMs: encoderRetryMs,
      nowMs: () => performance.now(),
      onChange: ({ kind, reason, outputsAtOnce }) =>
        log.warn({ encoder: kind, because: reason, outputsAtOnce }, "another encoder, or less of it, is in use now"),
    });
    const { runnerId } = settings;
    let stopped: string | null = null;
    const ffmpegVersion = binaries.version;
    const readHealth = (): RunnerHealth => ({ runnerId, encoder: encoder.current(), ffmpegVersion, board, stopped });
    health = readHealth;
    if (settings.health !== null) healthServer = await startHealthServer(settings.health, readHealth);
    const healthPort = healthServer?.port;
    const { kind, reason } = encoder.current();
    const ready = { runnerId, encoder: kind, because: reason, ffmpeg: ffmpegVersion, healthPort };
    log.info(ready, "runner ready: pulling");
    const onWait = (why: string | null) => {
      stopped = why;
    };
    const end = await pullAndRun({ settings, log, endings, binaries, encoder, redact, board, onWait });
    if (end.type === "unfit") {
      stopped = end.reason;
      if (!settings.once && !settings.drain) await stayUnfit(end.reason, endings, log);
    }
    if (end.type === "refused") log.error({ reason: end.reason }, "the API goes on refusing this runner");
    log.info({ end: end.type }, "runner stopped");
    const well = end.type === "once" ? end.outcome.type === "done" : end.type !== "unfit" && end.type !== "refused";
    return well ? exitCode.ok : exitCode.failed;
  } catch (error) {
    log.error({ err: error }, "the runner cannot go on");
    return exitCode.failed;
  } finally {
    await healthServer?.close();
  }
}

// Explicit: a connection kept alive for reuse must not hold the process.
process.exit(await main());
