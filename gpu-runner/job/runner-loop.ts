/** Pulls messages while there are free slots and runs each as a job, until told to stop or until it should not go on. */
import type { Logger } from "pino";
import type { TranscodeMessage } from "../../schemas/runner-protocol.ts";
import { type Backoff, backoffDelayMs, pause } from "./backoff.ts";
import { type FailureStreak, nextStreak, reasonToStop } from "./failure-streak.ts";
import { ShuttingDown } from "./job-failure.ts";
import { type PulledMessage, type PullQueue, PullRefused } from "./pull-queue.ts";
import type { JobOutcome, RunJobOptions } from "./run-job.ts";
import { createSlots } from "./slots.ts";

export type RunnerLoopOptions = {
  queue: PullQueue;
  concurrency: number;
  /** One job, then the end. */
  once: boolean;
  pollMs: number;
  backoff: Backoff;
  /** Aborted with ShuttingDown. */
  shutdown: AbortSignal;
  random: () => number;
  run: (message: TranscodeMessage, settle: RunJobOptions["settle"]) => Promise<JobOutcome>;
  onOutcome: (message: TranscodeMessage, outcome: JobOutcome) => void;
  log: Logger;
};

export type LoopEnd = { type: "stopped" } | { type: "once"; outcome: JobOutcome } | { type: "unfit"; reason: string };

const unreadableRetrySeconds = 60;
/** Not tied to the shutdown: a message must still be settled while the runner ends. */
const settleLimitMs = 15_000;

/** Resolves when every job that it began has ended. */
export async function runnerLoop(options: RunnerLoopOptions): Promise<LoopEnd> {
  const { shutdown } = options;
  const slots = createSlots(options.concurrency);
  const running = new Set<Promise<void>>();
  let streak: FailureStreak = [];
  let only: JobOutcome | null = null;
  /** Pulls or claims that failed in a row. */
  let trouble = 0;

  async function work(message: TranscodeMessage, leaseId: string): Promise<void> {
    const outcome = await options.run(message, settleOf(options, leaseId)).catch((error: unknown): JobOutcome => {
      options.log.error({ err: error, fileId: message.fileId }, "the job ended in a way it never should");
      return { type: "failed", code: "RUNNER_FAILED", message: "The runner failed.", retryable: true };
    });
    trouble = outcome.type === "unreachable" ? trouble + 1 : 0;
    streak = nextStreak(streak, message.fileId, outcome);
    only = outcome;
    options.onOutcome(message, outcome);
  }

  async function pullNext(): Promise<{ job: Promise<void> } | "idle" | "trouble"> {
    const pulled = await pullOrNull(options, trouble);
    if (pulled === "failed") {
      trouble++;
      return "trouble";
    }
    if (pulled === null) {
      trouble = 0;
      return "idle";
    }
    if (pulled.message === null) {
      options.log.warn({ problem: pulled.problem, attempts: pulled.attempts }, "a message that is not a transcode job");
      await settleOf(options, pulled.leaseId)
        .retry(unreadableRetrySeconds)
        .catch((error: unknown) => options.log.warn({ err: error }, "it could not be given back"));
      return "idle";
    }
    const job = work(pulled.message, pulled.leaseId).finally(() => running.delete(job));
    running.add(job);
    return { job };
  }

  async function pullUntilEnd(): Promise<string | null> {
    for (;;) {
      const release = await slots.acquire(shutdown);
      const reason = reasonToStop(streak);
      if (reason !== null) return reason;
      if (trouble > 0) await pause(backoffDelayMs(trouble, options.backoff, options.random), shutdown);
      const pulled = await pullNext();
      if (typeof pulled === "string") {
        release();
        if (pulled === "idle") await pause(options.pollMs * (0.75 + options.random() / 2), shutdown);
        continue;
      }
      void pulled.job.finally(release);
      if (!options.once) continue;
      await pulled.job;
      if (only !== null && only.type !== "unreachable" && only.type !== "refused") return null;
    }
  }

  try {
    const reason = await pullUntilEnd();
    await Promise.all(running);
    if (reason !== null) return { type: "unfit", reason };
    return only === null ? { type: "stopped" } : { type: "once", outcome: only };
  } catch (error) {
    if (!(error instanceof ShuttingDown)) throw error;
    await Promise.all(running);
    return { type: "stopped" };
  }
}

function settleOf({ queue }: RunnerLoopOptions, leaseId: string): RunJobOptions["settle"] {
  return {
    ack: () => queue.ack(leaseId, AbortSignal.timeout(settleLimitMs)),
    retry: (delaySeconds) => queue.retry(leaseId, delaySeconds, AbortSignal.timeout(settleLimitMs)),
  };
}

async function pullOrNull(options: RunnerLoopOptions, trouble: number): Promise<PulledMessage | null | "failed"> {
  try {
    return await options.queue.pull(options.shutdown);
  } catch (error) {
    if (error instanceof ShuttingDown) throw error;
    const permanent = error instanceof PullRefused && error.permanent;
    const says = permanent ? "the queue refuses this runner: check MMF_PULL_URL and MMF_PULL_TOKEN" : "pull failed";
    options.log[permanent ? "error" : "warn"]({ reason: String(error), inARow: trouble + 1 }, says);
    return "failed";
  }
}
