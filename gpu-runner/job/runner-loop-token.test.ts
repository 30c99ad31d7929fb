/** A runner whose token the API takes no longer: it says so, and takes no messages away from others meanwhile. */
import { expect, test } from "vitest";
import { ShuttingDown } from "./job-failure.ts";
import type { JobOutcome } from "./run-job.ts";
import { type RunnerLoopOptions, runnerLoop } from "./runner-loop.ts";
import { done, quickLoop } from "./testing/loop-options.ts";
import { queueOf } from "./testing/memory-queue.ts";

const tokenRefused: JobOutcome = { type: "token-refused", message: "the API answered 401 to the upgrade" };

async function loop(run: RunnerLoopOptions["run"], changes: Partial<RunnerLoopOptions> = {}) {
  const outcomes: JobOutcome["type"][] = [];
  const end = await runnerLoop({
    ...quickLoop,
    queues: [queueOf("normal", [1, 2, 3])],
    shutdown: new AbortController().signal,
    finish: new AbortController().signal,
    run,
    onOutcome: (_message, outcome) => outcomes.push(outcome.type),
    ...changes,
  });
  return { end, outcomes };
}

test("it rests between tries and tells why, until its token is taken again", async () => {
  const waits: (string | null)[] = [];
  const shutdown = new AbortController();
  let runs = 0;
  const run = async () => {
    if (++runs < 3) return tokenRefused;
    shutdown.abort(new ShuttingDown("test"));
    return done;
  };
  const { end, outcomes } = await loop(run, { shutdown: shutdown.signal, onWait: (reason) => waits.push(reason) });
  expect({ end, outcomes }).toEqual({ end: { type: "stopped" }, outcomes: ["token-refused", "token-refused", "done"] });
  const reason = expect.stringContaining("MMF_RUNNER_TOKEN");
  expect(waits).toEqual([reason, null, reason, null]);
});

test.each(["once", "drain"])("with --%s it ends, with the reason, and takes no other message", async (how) => {
  const { end, outcomes } = await loop(async () => tokenRefused, { once: how === "once", drain: how === "drain" });
  const reason = expect.stringContaining("MMF_RUNNER_TOKEN: the API answered 401");
  expect({ end, outcomes }).toEqual({ end: { type: "refused", reason }, outcomes: ["token-refused"] });
});
