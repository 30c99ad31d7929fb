/** Runners that share a queue, and an asset that fails on one of them: who gets its tries. */
import { expect, test } from "vitest";
import { ShuttingDown } from "./job-failure.ts";
import type { JobOutcome } from "./run-job.ts";
import { type RunnerLoopOptions, runnerLoop } from "./runner-loop.ts";
import { done, failedWith, quickLoop } from "./testing/loop-options.ts";
import { retryingQueue } from "./testing/memory-queue.ts";
import { jobMessage } from "./testing/protocol-peer.ts";

const failed = failedWith("ENCODER_FAILED");
const tries = 3;

/** One asset on offer, under a new generation after each failure, until it is done or its tries are used up. */
function oneAsset({ stopsWhenDone = true } = {}) {
  const shared = retryingQueue();
  const shutdown = new AbortController();
  const claims: string[] = [];
  const offer = () => shared.offer({ ...jobMessage(), generation: claims.length + 1 });
  const stop = () => shutdown.abort(new ShuttingDown("test"));
  const run = (runner: string, outcome: JobOutcome, options: Partial<RunnerLoopOptions> = {}) =>
    runnerLoop({
      ...quickLoop,
      queue: shared.queue,
      shutdown: shutdown.signal,
      finish: new AbortController().signal,
      run: async (_message, settle) => {
        await settle.ack();
        claims.push(runner);
        if (outcome === done ? stopsWhenDone : claims.length === tries) stop();
        else if (outcome !== done) offer();
        return outcome;
      },
      ...options,
    });
  return { claims, settled: shared.settled, offer, run, stop };
}

/** Sooner than any timer. */
async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 100_000 && !condition(); turn++) await new Promise((resolve) => setImmediate(resolve));
}

test("a runner that failed an asset leaves it to another that idles, however fast it asks", async () => {
  const { claims, offer, run } = oneAsset();
  offer();
  const bad = run("bad", failed);
  await until(() => claims.length > 0);
  await Promise.all([bad, run("good", done)]);
  expect(claims).toEqual(["bad", "good"]);
});

test("another that is busy at first finds it when it is free", async () => {
  const { claims, offer, run } = oneAsset();
  offer();
  const bad = run("bad", failed);
  // Longer than the first rest, and shorter than both.
  await new Promise((resolve) => setTimeout(resolve, 120));
  await Promise.all([bad, run("good", done)]);
  expect(claims).toEqual(["bad", "good"]);
});

test("one runner alone gets all three tries, and no message is given back more than twice", async () => {
  const { claims, settled, offer, run } = oneAsset();
  offer();
  expect(await run("alone", failed)).toEqual({ type: "stopped" });
  expect(claims).toEqual(["alone", "alone", "alone"]);
  expect(settled).toEqual(["ack:1", "retry:2", "retry:2", "ack:2", "retry:3", "retry:3", "ack:3"]);
});

test("drain: it ends when another has taken what it left", async () => {
  const { claims, offer, run, stop } = oneAsset({ stopsWhenDone: false });
  offer();
  const bad = run("bad", failed, { drain: true });
  await until(() => claims.length > 0);
  const good = run("good", done);
  expect(await bad).toEqual({ type: "drained" });
  stop();
  await good;
  expect(claims).toEqual(["bad", "good"]);
});

test("told to stop while it rests, it stops at once", async () => {
  const { claims, settled, offer, run, stop } = oneAsset();
  offer();
  const alone = run("alone", failed, { pollMs: 60_000, random: () => 0 });
  await until(() => settled.includes("retry:2"));
  stop();
  expect(await alone).toEqual({ type: "stopped" });
  expect(claims).toEqual(["alone"]);
});
