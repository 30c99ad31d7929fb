/** A runner whose token the API takes no longer: its job ends, its pulls are refused, and it does not spin. */
import { expect, test } from "vitest";
import { ShuttingDown } from "./job-failure.ts";
import { type PullQueue, PullRefused } from "./pull-queue.ts";
import type { JobOutcome } from "./run-job.ts";
import { type RunnerLoopOptions, refusalsInARow, runnerLoop } from "./runner-loop.ts";
import { done, quickLoop } from "./testing/loop-options.ts";
import { queueOf } from "./testing/memory-queue.ts";

const tokenRefused: JobOutcome = { type: "token-refused", message: "the API answered 401 to the upgrade" };
const text = JSON.stringify({ code: "UNAUTHENTICATED", detail: "The token was revoked." });

/** The token is taken again at the `goodAgain`th pull after the first. */
function queueWithToken(goodAgain: number) {
  const messages = queueOf([1, 2, 3]);
  let pulls = 0;
  const pull: PullQueue["pull"] = (signal) => {
    const isGood = ++pulls === 1 || pulls > goodAgain;
    if (isGood) return messages.pull(signal);
    return Promise.reject(new PullRefused("the API refused to pull", { status: 401, headers: new Headers(), text }));
  };
  return { queue: { ...messages, pull }, pulls: () => pulls };
}

async function loop(queue: PullQueue, run: RunnerLoopOptions["run"], changes: Partial<RunnerLoopOptions> = {}) {
  const outcomes: JobOutcome["type"][] = [];
  const end = await runnerLoop({
    ...quickLoop,
    queue,
    shutdown: new AbortController().signal,
    finish: new AbortController().signal,
    run,
    onOutcome: (_message, outcome) => outcomes.push(outcome.type),
    ...changes,
  });
  return { end, outcomes };
}

test.each(["once", "drain"])("with --%s it ends, with what the API said, and takes no other message", async (how) => {
  const { queue, pulls } = queueWithToken(Number.POSITIVE_INFINITY);
  const flags = { once: how === "once", drain: how === "drain" };
  const { end, outcomes } = await loop(queue, async () => tokenRefused, flags);
  const reason = expect.stringContaining("The token was revoked.");
  expect({ end, outcomes }).toEqual({ end: { type: "refused", reason }, outcomes: ["token-refused"] });
  expect(pulls()).toBe(1 + refusalsInARow);
});

test("without flags it says why, and goes on once the token is taken again", async () => {
  const { queue } = queueWithToken(1 + refusalsInARow);
  const waits: (string | null)[] = [];
  const shutdown = new AbortController();
  let runs = 0;
  const run = async () => {
    if (++runs === 1) return tokenRefused;
    shutdown.abort(new ShuttingDown("test"));
    return done;
  };
  const { end, outcomes } = await loop(queue, run, {
    shutdown: shutdown.signal,
    onWait: (reason) => waits.push(reason),
  });
  expect({ end, outcomes }).toEqual({ end: { type: "stopped" }, outcomes: ["token-refused", "done"] });
  expect(waits).toEqual([expect.stringContaining("The token was revoked."), null]);
});
