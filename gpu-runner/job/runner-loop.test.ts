import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import { assetsInARow, nextStreak, reasonToStop } from "./failure-streak.ts";
import { ShuttingDown } from "./job-failure.ts";
import { createPullQueue } from "./pull-queue.ts";
import type { JobOutcome } from "./run-job.ts";
import { type RunnerLoopOptions, runnerLoop } from "./runner-loop.ts";
import { jobMessage, type Peer, pullToken, startPeer } from "./testing/protocol-peer.ts";

let peer: Peer;
afterEach(() => peer?.stop());

const done: JobOutcome = { type: "done", renditions: 2 };
const failedWith = (code: "ENCODER_FAILED" | "INVALID_MEDIA"): JobOutcome => ({
  type: "failed",
  code,
  message: "said the encoder",
  retryable: code === "ENCODER_FAILED",
});

async function start(run: RunnerLoopOptions["run"], changes: Partial<RunnerLoopOptions> = {}, pullOptions = {}) {
  peer = await startPeer(pullOptions);
  const shutdown = new AbortController();
  const outcomes: JobOutcome["type"][] = [];
  const queue = createPullQueue({
    url: peer.pullUrl,
    token: pullToken,
    visibilityTimeoutMs: 60_000,
    timeoutMs: 2_000,
    backoff: { baseMs: 1, maxMs: 5 },
    random: Math.random,
  });
  const begin = () =>
    runnerLoop({
      queue,
      concurrency: 1,
      once: false,
      pollMs: 5,
      backoff: { baseMs: 1, maxMs: 5 },
      shutdown: shutdown.signal,
      random: Math.random,
      run,
      onOutcome: (_message, outcome) => outcomes.push(outcome.type),
      log: pino({ level: "silent" }),
      ...changes,
    });
  return { begin, outcomes, stop: () => shutdown.abort(new ShuttingDown("test")) };
}

test("jobs run one after the other, and the loop ends only when the running one has", async () => {
  let running = 0;
  let most = 0;
  let runs = 0;
  let stop = () => {};
  const loop = await start(async (_message, settle) => {
    most = Math.max(most, ++running);
    await settle.ack();
    if (++runs === 3) stop();
    await new Promise((resolve) => setTimeout(resolve, 10));
    running--;
    return done;
  });
  stop = loop.stop;
  for (let n = 1; n <= 4; n++) peer.enqueue(`m${n}`, jobMessage(n));
  expect(await loop.begin()).toEqual({ type: "stopped" });
  expect({ most, running, outcomes: loop.outcomes }).toEqual({
    most: 1,
    running: 0,
    outcomes: ["done", "done", "done"],
  });
  expect(peer.journal.filter((entry) => entry !== "pull")).toEqual(["ack:m1", "ack:m2", "ack:m3"]);
});

test("as many jobs run at once as there are slots", async () => {
  let waiting: (() => void)[] = [];
  const loop = await start(
    () =>
      new Promise<JobOutcome>((resolve) => {
        waiting.push(() => resolve(done));
        // Only a second job at the same time lets the first one end.
        if (waiting.length < 2) return;
        for (const end of waiting) end();
        waiting = [];
        if (loop.outcomes.length >= 2) loop.stop();
      }),
    { concurrency: 2 },
  );
  for (let n = 1; n <= 4; n++) peer.enqueue(`m${n}`, jobMessage(n));
  await loop.begin();
  expect(loop.outcomes).toEqual(["done", "done", "done", "done"]);
});

test("once: skips what is refused, runs one job and ends with its outcome", async () => {
  const answers: JobOutcome[] = [{ type: "refused", reason: "stale" }, failedWith("INVALID_MEDIA")];
  const loop = await start(async () => answers.shift() ?? done, { once: true });
  for (let n = 1; n <= 3; n++) peer.enqueue(`m${n}`, jobMessage(n));
  expect(await loop.begin()).toMatchObject({ type: "once", outcome: { type: "failed", code: "INVALID_MEDIA" } });
  expect(loop.outcomes).toEqual(["refused", "failed"]);
});

test("a message that is no job is left to its retries, not acked", async () => {
  const loop = await start(async () => done, { once: true });
  peer.enqueue("bad", "%%%");
  peer.enqueue("good", jobMessage(1));
  await loop.begin();
  expect(peer.journal.filter((entry) => entry !== "pull")).toEqual(["retry:bad:60"]);
});

test("a queue that answers with errors is asked again", async () => {
  let pulls = 0;
  const loop = await start(
    async () => done,
    { once: true },
    {
      onPost: (path: string, _body: unknown, response: import("node:http").ServerResponse) => {
        if (path !== "/queue/pull" || ++pulls > 3) return false;
        if (pulls === 1) response.writeHead(500).end();
        else if (pulls === 2) response.destroy();
        else response.writeHead(200).end("not json");
        return true;
      },
    },
  );
  peer.enqueue("m1", jobMessage(1));
  expect(await loop.begin()).toMatchObject({ type: "once", outcome: done });
  expect(pulls).toBe(4);
});

test("a queue that answers again, with nothing in it, is polled at the usual pace again", async () => {
  let pulls = 0;
  const loop = await start(
    async () => done,
    { once: true, backoff: { baseMs: 1_000, maxMs: 600_000 }, random: () => 0 },
    {
      onPost: (path: string, _body: unknown, response: import("node:http").ServerResponse) => {
        if (path !== "/queue/pull") return false;
        pulls++;
        // Out once; then empty for longer than the test would wait if each pull still backed off.
        if (pulls === 1) response.writeHead(500).end();
        if (pulls === 200) peer.enqueue("m1", jobMessage(1));
        return pulls === 1;
      },
    },
  );
  expect(await loop.begin()).toMatchObject({ type: "once", outcome: done });
});

test("a runner that fails three different assets in a row stops pulling and says why", async () => {
  const loop = await start(async () => failedWith("ENCODER_FAILED"));
  for (const n of [1, 1, 2, 3, 4]) peer.enqueue(`m${n}`, jobMessage(n));
  const end = await loop.begin();
  expect(end).toMatchObject({ type: "unfit", reason: expect.stringContaining("said the encoder") });
  expect(loop.outcomes).toHaveLength(4);
});

test("a job that throws counts as a failure, and the loop goes on", async () => {
  let runs = 0;
  const loop = await start(async () => {
    if (++runs < 2) throw new Error("a bug");
    loop.stop();
    return done;
  });
  for (let n = 1; n <= 2; n++) peer.enqueue(`m${n}`, jobMessage(n));
  await loop.begin();
  expect(loop.outcomes).toEqual(["failed", "done"]);
});

test("neither one bad asset, nor bad files, nor a success in between make a runner unfit", () => {
  const streakOf = (steps: [fileId: string, outcome: JobOutcome][]) =>
    steps.reduce((streak, [fileId, outcome]) => nextStreak(streak, fileId, outcome), nextStreak([], "", done));
  const encoder = failedWith("ENCODER_FAILED");
  const sameAsset = Array.from({ length: 9 }, (): [string, JobOutcome] => ["a", encoder]);
  expect(reasonToStop(streakOf(sameAsset))).toBeNull();
  const badFiles = ["a", "b", "c", "d"].map((id): [string, JobOutcome] => [id, failedWith("INVALID_MEDIA")]);
  expect(reasonToStop(streakOf(badFiles))).toBeNull();
  expect(
    reasonToStop(
      streakOf([
        ["a", encoder],
        ["b", encoder],
        ["c", done],
        ["d", encoder],
      ]),
    ),
  ).toBeNull();
  const bad = streakOf([
    ["a", encoder],
    ["b", encoder],
    ["x", failedWith("INVALID_MEDIA")],
    ["c", encoder],
  ]);
  expect(bad).toHaveLength(assetsInARow);
  expect(reasonToStop(bad)).toMatch(/a, b, c/);
});
