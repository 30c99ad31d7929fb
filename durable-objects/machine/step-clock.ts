/**
 * The life of one step: sent, begun, deferred, sent again, over. The only place where backoff, tries and watchdogs are
 * reckoned; while a step is open exactly one deadline is armed.
 */
import type { Step } from "../../schemas/asset-state.ts";
import type { FailureCode } from "../../schemas/failure.ts";
import { failurePolicy, isRetryable, longestRetryAfterMs } from "../../schemas/failure-policy.ts";
import type { Backoff } from "../../schemas/policy.ts";
import type { Context } from "./rule.ts";
import { oweAll, oweDeferred } from "./transfer.ts";

export const idleStep = (): Step => ({
  op: 0,
  phase: "idle",
  failures: 0,
  deferrals: 0,
  restarts: 0,
  sends: 0,
  deadlineAtMs: null,
  problem: null,
  transfer: null,
});

export function isOpen(step: Step): boolean {
  return step.phase !== "idle";
}

/** A new intent: a fresh fencing number, so that whatever still acts on the old one is told apart. */
export function intend(step: Step, watchdogMs: number, { stamp }: Context): void {
  step.op += 1;
  step.phase = "queued";
  step.failures = 0;
  step.deferrals = 0;
  step.restarts = 0;
  step.sends = 1;
  step.deadlineAtMs = stamp.atMs + watchdogMs;
  step.problem = null;
  step.transfer = null;
}

/** The same command once more, after its backoff or because nobody gave a sign; the watchdog's patience doubles. */
export function sendAgain(step: Step, watchdogMs: number, { stamp, policy }: Context): void {
  step.phase = "queued";
  step.sends += 1;
  step.deadlineAtMs = stamp.atMs + doubled(watchdogMs, step.sends - 1, policy.watchdogMaxMs);
}

/**
 * Sent again for want of a sign. One who had begun and fell silent has failed: without counting that, a command that kills
 * its consumer would be sent for ever, and nobody would be told.
 * @returns false when the step has used up its tries
 */
export function sendAfterSilence(step: Step, watchdogMs: number, context: Context): boolean {
  if (step.phase === "running") {
    step.failures += 1;
    setProblem(step, "STEP_OVERDUE", "Whoever worked on it fell silent.", context.stamp.atMs);
    if (step.failures >= context.policy.stepAttempts) {
      close(step);
      return false;
    }
  }
  if (step.phase !== "waiting") oweAll(step);
  sendAgain(step, watchdogMs, context);
  return true;
}

/** Messages of a transfer that still work while it waits out a backoff do not end the wait. */
export function begin(step: Step, silenceMs: number, { stamp }: Context): void {
  if (step.transfer !== null && step.phase === "waiting") return;
  step.phase = "running";
  step.sends = 1;
  step.deadlineAtMs = stamp.atMs + silenceMs;
}

/** For work that tells its end by itself: every look at it in vain doubles the patience until the next. */
export function beginPatiently(step: Step, silenceMs: number, { stamp, policy }: Context): void {
  step.phase = "running";
  step.deadlineAtMs = stamp.atMs + doubled(silenceMs, Math.max(0, step.sends - 1), policy.watchdogMaxMs);
}

export interface Deferral {
  code: FailureCode;
  message: string;
  retryAfterMs: number | null;
  parts?: number[] | undefined;
  startOver?: boolean | undefined;
}

/** @returns false when the step has used up its tries (never for outages). */
export function defer(step: Step, deferral: Deferral, backoff: Backoff, { stamp, policy }: Context): boolean {
  step.deferrals += 1;
  if (failurePolicy[deferral.code] !== "outage") step.failures += 1;
  if (deferral.startOver) step.restarts += 1;
  setProblem(step, deferral.code, deferral.message, stamp.atMs);
  if (Math.max(step.failures, step.restarts) >= policy.stepAttempts) {
    close(step);
    return false;
  }
  oweDeferred(step, deferral);
  step.phase = "waiting";
  step.sends = 0;
  const ownMs = backoffMs(backoff, step.deferrals, stamp.jitter);
  step.deadlineAtMs = stamp.atMs + Math.max(ownMs, askedMs(deferral.retryAfterMs, stamp.jitter));
  return true;
}

/** Never sooner than was asked for, and up to 20 % later: whoever says "in a minute" says it to everybody. */
function askedMs(retryAfterMs: number | null, jitter: number): number {
  return Math.round(Math.min(retryAfterMs ?? 0, longestRetryAfterMs) * (1 + 0.2 * jitter));
}

/** Over, well or not: the problem stays for people to see until the step succeeds or is asked for again. */
export function close(step: Step): void {
  step.phase = "idle";
  step.sends = 0;
  step.deadlineAtMs = null;
  step.transfer = null;
}

/** More messages of a transfer follow: their silence is watched with fresh patience. */
export function goOn(step: Step, watchdogMs: number, context: Context): void {
  step.sends = 0;
  sendAgain(step, watchdogMs, context);
}

/** Parts got through: whatever troubled the step before is over. */
export function recover(step: Step): void {
  step.failures = 0;
  step.deferrals = 0;
  step.problem = null;
}

export function succeed(step: Step): void {
  close(step);
  recover(step);
  step.restarts = 0;
}

export function failStep(step: Step, code: FailureCode, message: string, { stamp }: Context): void {
  close(step);
  setProblem(step, code, message, stamp.atMs);
}

/** The problem keeps its first time while the code stays the same. */
export function setProblem(step: Step, code: FailureCode, message: string, atMs: number): void {
  const sinceAtMs = step.problem?.code === code ? step.problem.sinceAtMs : atMs;
  step.problem = { code, message, sinceAtMs, retryable: isRetryable(code) };
}

/** Whether a timer's event is about the deadline that is armed now. */
export function isDue(step: Step, op: number, phases: readonly Step["phase"][], { stamp }: Context): boolean {
  return step.op === op && phases.includes(step.phase) && step.deadlineAtMs !== null && step.deadlineAtMs <= stamp.atMs;
}

/** Exponential with ± 20 % jitter. `attempt` counts from 1. */
export function backoffMs(backoff: Backoff, attempt: number, jitter: number): number {
  return Math.round(doubled(backoff.baseMs, attempt - 1, backoff.maxMs) * (0.8 + 0.4 * jitter));
}

function doubled(baseMs: number, times: number, maxMs: number): number {
  return Math.min(maxMs, baseMs * 2 ** Math.min(times, 30));
}
