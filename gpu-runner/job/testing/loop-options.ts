/** A loop that waits for little, and how jobs end in it. */
import { pino } from "pino";
import { type FailureCode, failureFacts } from "../../../schemas/failure.ts";
import type { JobOutcome } from "../run-job.ts";
import type { RunnerLoopOptions } from "../runner-loop.ts";

export const done: JobOutcome = { type: "done", renditions: 2 };

export const failedWith = (code: FailureCode): JobOutcome => ({
  type: "failed",
  code,
  message: "said the encoder",
  retryable: failureFacts[code].retryable,
});

export const quickLoop: Omit<RunnerLoopOptions, "queue" | "shutdown" | "finish" | "run"> = {
  concurrency: 1,
  once: false,
  drain: false,
  pollMs: 5,
  backoff: { baseMs: 1, maxMs: 5 },
  shutOutMs: 5,
  onWait: () => {},
  random: Math.random,
  onOutcome: () => {},
  log: pino({ level: "silent" }),
};
