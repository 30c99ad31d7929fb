/**
 * Pulls messages while there are free slots and runs each as a job, until told to stop, until there is nothing left to
 * pull where that is wanted, or until it should not go on.
 */
import type { Logger } from "pino";
import type { PulledMessage, TranscodeMessage } from "../../schemas/runner-protocol.ts";
import { type Backoff, backoffDelayMs, pause } from "./backoff.ts";
import {
  type FailureStreak,
  nextShutOut,
  nextStreak,
  reasonToStop,
  reasonToWait,
  type ShutOut,
} from "./failure-streak.ts";
import { leaveToOthers, nextOwnFailures, type OwnFailures } from "./own-failure.ts";
import { type Lease, type PullQueue, PullRefused } from "./pull-queue.ts";
import type { JobOutcome, RunJobOptions } from "./run-job.ts";
import { createSlots } from "./slots.ts";

export type RunnerLoopOptions = {
  queue: PullQueue;
  concurrency: number;
  /** One job, then the end; the end, too, when the API goes on refusing the runner. */
  once: boolean;
  /** Until there was no message once, or the API goes on refusing; then the end, when the jobs that run are over. */
  drain: boolean;
  pollMs: number;
  backoff: Backoff;
  /** Pause after each job that a store refused which refuses everybody. */
  shutOutMs: number;
  /** Why nothing is pulled for now; null when that is over. */
  onWait: (reason: string | null) => void;
  /** Aborted with ShuttingDown. */
  shutdown: AbortSignal;
  /** Aborted: nothing more is pulled, and the end comes when the jobs that run are over. */
  finish: AbortSignal;
  random: () => number;
  run: (message: TranscodeMessage, settle: RunJobOptions["settle"]) => Promise<JobOutcome>;
  onOutcome: (message: TranscodeMessage, outcome: JobOutcome) => void;
  log: Logger;
};

export type LoopEnd =
  | { type: "stopped" }
  | { type: "drained" }
  | { type: "once"; outcome: JobOutcome }
  | { type: "unfit"; reason: string }
  /** The API refused the runner time and again, or its token: what the queues hold cannot be known. */
  | { type: "refused"; reason: string };

/** `refusal`: what the API said for good; null: it did not answer, or said that it cannot now. */
type PullFailed = { failed: true; refusal: string | null };

/** A token that was just made may be unknown for some seconds. */
export const refusalsInARow = 5;
/** Not tied to the shutdown: a message must still be settled while the runner ends. */
const settleLimitMs = 15_000;

/** Resolves when every job that it began has ended. */
export async function runnerLoop(options: RunnerLoopOptions): Promise<LoopEnd> {
  const { shutdown, finish } = options;
  const noMore = AbortSignal.any([shutdown, finish]);
  const slots = createSlots(options.concurrency);
  const running = new Set<Promise<void>>();
  let streak: FailureStreak = [];
  let shutOut: ShutOut = [];
  let waitIsDue = false;
  let ownFailures: OwnFailures = new Map();
  let only: JobOutcome | null = null;
  /** Pulls or claims that failed in a row. */
  let trouble = 0;
  /** Pulls that were refused for good, with none that went well in between, and what the last one was told. */
  let refusals = 0;
  let refusal = "";

  /** Whoever drains a queue waits for an end, not for a store. */
  const reasonUnfit = () => reasonToStop(streak) ?? (options.drain ? reasonToWait(shutOut) : null);

  async function work(message: TranscodeMessage, settle: RunJobOptions["settle"]): Promise<void> {
    const outcome = await options.run(message, settle).catch((error: unknown): JobOutcome => {
      options.log.error({ err: error, fileId: message.fileId }, "the job ended in a way it never should");
      return { type: "failed", code: "RUNNER_FAILED", message: "The runner failed.", retryable: true };
    });
    // The next pull is told whether the token is good: it goes by the same door.
    trouble = outcome.type === "unreachable" || outcome.type === "token-refused" ? trouble + 1 : 0;
    streak = nextStreak(streak, message.fileId, outcome);
    ownFailures = nextOwnFailures(ownFailures, message, outcome);
    const before = shutOut;
    shutOut = nextShutOut(shutOut, message.fileId, outcome);
    waitIsDue ||= shutOut !== before;
    only = outcome;
    options.onOutcome(message, outcome);
  }

  async function giveBack(settle: RunJobOptions["settle"], delaySeconds: number): Promise<void> {
    await settle.retry(delaySeconds).catch((error: unknown) => {
      options.log.warn({ err: error }, "a message could not be given back");
    });
  }

  async function pullNext(): Promise<{ job: Promise<void> } | "empty" | "nothing" | "trouble"> {
    const pulled = await pullOrFailure(options, noMore, trouble);
    if (pulled !== null && "failed" in pulled) {
      trouble++;
      if (pulled.refusal !== null) {
        refusals++;
        refusal = pulled.refusal;
        if (refusals === refusalsInARow) options.onWait(refusal);
      }
      return "trouble";
    }
    if (refusals >= refusalsInARow) options.onWait(null);
    refusals = 0;
    if (pulled === null) {
      trouble = 0;
      return "empty";
    }
    const { message, attempts } = pulled;
    const settle = settleOf(options.queue, pulled);
    if (finish.aborted) {
      await giveBack(settle, 0);
      return "nothing";
    }
    const left = leaveToOthers(ownFailures, message, attempts);
    if (left !== null) {
      ownFailures = left.own;
      const restMs = options.pollMs * left.polls;
      const { fileId, jobId, generation } = message;
      options.log.info({ fileId, jobId, generation, restMs }, "it failed here: left to other runners for a while");
      // Without a delay, which would hide it from them, too.
      await giveBack(settle, 0);
      await pause(restMs, noMore);
      return "nothing";
    }
    const job = work(message, settle).finally(() => running.delete(job));
    running.add(job);
    return { job };
  }

  /** With the store shut, jobs are tried one at a time and far apart, so that few assets fail before somebody fixes it. */
  async function untilStoreMayBeOpen(): Promise<void> {
    while (reasonToWait(shutOut) !== null && running.size > 0) await Promise.race(running);
    const reason = reasonToWait(shutOut);
    if (reason === null || !waitIsDue || options.drain) return;
    waitIsDue = false;
    options.log.error({ reason, waitMs: options.shutOutMs }, "no jobs are pulled for a while");
    options.onWait(reason);
    await pause(options.shutOutMs, noMore).finally(() => options.onWait(null));
  }

  /** Pulls until there is a job, or no reason to go on pulling. */
  async function nextJob(): Promise<{ job: Promise<void> } | "unfit" | "drained" | "refused"> {
    for (;;) {
      await untilStoreMayBeOpen();
      if (reasonUnfit() !== null) return "unfit";
      if ((options.once || options.drain) && refusals >= refusalsInARow) return "refused";
      if (trouble > 0) await pause(backoffDelayMs(trouble, options.backoff, options.random), noMore);
      const pulled = await pullNext();
      if (typeof pulled === "object") return pulled;
      if (pulled === "empty" && options.drain) return "drained";
      if (pulled !== "trouble") await pause(options.pollMs * (0.75 + options.random() / 2), noMore);
    }
  }

  /** Throws the reason of whichever signal ends it. */
  async function pullUntilEnd(): Promise<"unfit" | "drained" | "refused" | "once"> {
    for (;;) {
      const release = await slots.acquire(noMore);
      const next = await nextJob();
      if (typeof next === "string") return next;
      void next.job.finally(release);
      if (!options.once) continue;
      await next.job;
      if (only !== null && !["unreachable", "refused", "token-refused"].includes(only.type)) return "once";
    }
  }

  const why = await pullUntilEnd().catch((error: unknown) => {
    if (noMore.aborted) return "drained" as const;
    throw error;
  });
  await Promise.all(running);
  const reason = reasonUnfit();
  if (why === "once" && only !== null) return { type: "once", outcome: only };
  if (shutdown.aborted) return { type: "stopped" };
  if (reason !== null) return { type: "unfit", reason };
  if (why === "refused") return { type: "refused", reason: refusal };
  return { type: "drained" };
}

function settleOf(queue: PullQueue, lease: Lease): RunJobOptions["settle"] {
  return {
    ack: () => queue.ack(lease, AbortSignal.timeout(settleLimitMs)),
    retry: (delaySeconds) => queue.retry(lease, delaySeconds, AbortSignal.timeout(settleLimitMs)),
  };
}

async function pullOrFailure(
  { queue, log }: RunnerLoopOptions,
  noMore: AbortSignal,
  trouble: number,
): Promise<PulledMessage | PullFailed | null> {
  try {
    return await queue.pull(noMore);
  } catch (error) {
    if (noMore.aborted) throw error;
    const permanent = error instanceof PullRefused && error.permanent;
    const says = permanent
      ? "the API refuses this runner: see the reason, MMF_API_URL and MMF_RUNNER_TOKEN"
      : "pull failed";
    log[permanent ? "error" : "warn"]({ reason: String(error), inARow: trouble + 1 }, says);
    return { failed: true, refusal: permanent ? error.message : null };
  }
}
