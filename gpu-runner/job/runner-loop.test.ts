import { afterEach, expect, test } from "vitest";
import { ShuttingDown } from "./job-failure.ts";
import { createPullQueue, type PullQueue } from "./pull-queue.ts";
import type { JobOutcome } from "./run-job.ts";
import { type RunnerLoopOptions, refusalsInARow, runnerLoop } from "./runner-loop.ts";
import { done, failedWith, quickLoop } from "./testing/loop-options.ts";
import { queueOf } from "./testing/memory-queue.ts";
import { apiToken, jobMessage, type Peer, pullPath, startPeer } from "./testing/protocol-peer.ts";

let peer: Peer;
afterEach(() => peer?.stop());

async function start(run: RunnerLoopOptions["run"], changes: Partial<RunnerLoopOptions> = {}, pullOptions = {}) {
  peer = await startPeer(pullOptions);
  const shutdown = new AbortController();
  const finish = new AbortController();
  const outcomes: JobOutcome["type"][] = [];
  const queue = createPullQueue({
    apiUrl: peer.url,
    token: apiToken,
    waitSeconds: 0,
    rushOnly: false,
    timeoutMs: 2_000,
    backoff: { baseMs: 1, maxMs: 5 },
    random: Math.random,
  });
  const begin = () =>
    runnerLoop({
      ...quickLoop,
      queue,
      shutdown: shutdown.signal,
      finish: finish.signal,
      run,
      onOutcome: (_message, outcome) => outcomes.push(outcome.type),
      ...changes,
    });
  return {
    begin,
    outcomes,
    stop: () => shutdown.abort(new ShuttingDown("test")),
    finish: () => finish.abort(),
  };
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

test("a queue that answers with errors is asked again", async () => {
  let pulls = 0;
  const loop = await start(
    async () => done,
    { once: true },
    {
      onPost: (path: string, _body: unknown, response: import("node:http").ServerResponse) => {
        if (path !== pullPath || ++pulls > 3) return false;
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
        if (path !== pullPath) return false;
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

test("drain: ends when the queue has been empty once and the running jobs are over, whatever became of them", async () => {
  const outcomes = [failedWith("INVALID_MEDIA"), done, done];
  const loop = await start(
    async () => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      return outcomes.shift() ?? done;
    },
    { drain: true, concurrency: 2 },
  );
  for (let n = 1; n <= 3; n++) peer.enqueue(`m${n}`, jobMessage(n));
  expect(await loop.begin()).toEqual({ type: "drained" });
  expect(loop.outcomes.sort()).toEqual(["done", "done", "failed"]);
  expect(peer.journal.at(-1)).toBe("pull");
});

test("drain: a runner that turns out to be unfit says so instead", async () => {
  const loop = await start(async () => failedWith("ENCODER_FAILED"), { drain: true, concurrency: 3 });
  for (const n of [1, 2, 3]) peer.enqueue(`m${n}`, jobMessage(n));
  expect(await loop.begin()).toMatchObject({ type: "unfit" });
});

/** Answers every pull at the peer's queue with what `statusOf` gives for its number; undefined: the queue's own answer. */
function answeringPulls(statusOf: (pull: number) => number | undefined) {
  let pulls = 0;
  const onPost = (path: string, _body: unknown, response: import("node:http").ServerResponse) => {
    const status = path === pullPath ? statusOf(++pulls) : undefined;
    if (status === undefined) return false;
    response.writeHead(status).end(JSON.stringify({ detail: "not you" }));
    return true;
  };
  return { onPost, pulls: () => pulls };
}

test.each([
  ["once", 403],
  ["once", 404],
  ["drain", 403],
  ["drain", 404],
])("%s: an API that answers %i again and again ends it, with the reason", async (how, status) => {
  const { onPost, pulls } = answeringPulls(() => status);
  const loop = await start(async () => done, { once: how === "once", drain: how === "drain" }, { onPost });
  const end = await loop.begin();
  expect(end).toMatchObject({ type: "refused", reason: expect.stringContaining(`HTTP ${status} (not you)`) });
  expect({ pulls: pulls(), outcomes: loop.outcomes }).toEqual({ pulls: refusalsInARow, outcomes: [] });
});

test("drain: outages do not count as refusals, and a pull that goes well ends the count", async () => {
  const { onPost } = answeringPulls((pull) => {
    if (pull < refusalsInARow || (pull > refusalsInARow && pull < 2 * refusalsInARow)) return 404;
    return pull > 2 * refusalsInARow && pull < 4 * refusalsInARow ? 503 : undefined;
  });
  const loop = await start(async () => done, { drain: true }, { onPost });
  for (let n = 1; n <= 2; n++) peer.enqueue(`m${n}`, jobMessage(n));
  expect(await loop.begin()).toEqual({ type: "drained" });
  expect(loop.outcomes).toEqual(["done", "done"]);
});

test("a runner that serves goes on asking an API that refuses it, and says so until it is served", async () => {
  const { onPost } = answeringPulls((pull) => (pull < 4 * refusalsInARow ? 403 : undefined));
  const waits: (string | null)[] = [];
  const loop = await start(
    async () => {
      loop.stop();
      return done;
    },
    { onWait: (reason) => waits.push(reason) },
    { onPost },
  );
  peer.enqueue("m1", jobMessage(1));
  expect(await loop.begin()).toEqual({ type: "stopped" });
  expect(waits).toEqual([expect.stringContaining("HTTP 403 (not you)"), null]);
  expect(loop.outcomes).toEqual(["done"]);
});

test("told to finish, it pulls no more and lets the running job end", async () => {
  let ended = false;
  const loop = await start(async () => {
    loop.finish();
    await new Promise((resolve) => setTimeout(resolve, 50));
    ended = true;
    return done;
  });
  for (let n = 1; n <= 2; n++) peer.enqueue(`m${n}`, jobMessage(n));
  expect(await loop.begin()).toEqual({ type: "drained" });
  expect({ ended, outcomes: loop.outcomes }).toEqual({ ended: true, outcomes: ["done"] });
  expect(peer.journal.filter((entry) => entry === "pull")).toHaveLength(1);
});

test("told to finish while it waits for a message, it ends at once", async () => {
  const pull: PullQueue["pull"] = (signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      loop.finish();
    });
  const loop = await start(async () => done, { queue: { ...queueOf([]), pull } });
  expect(await loop.begin()).toEqual({ type: "drained" });
});

test("told to finish while a pull is under way, it gives the message back at once", async () => {
  const settled: string[] = [];
  const queue = queueOf([1], settled);
  const pull: PullQueue["pull"] = (signal) => {
    loop.finish();
    return queue.pull(signal);
  };
  const loop = await start(async () => done, { queue: { ...queue, pull } });
  expect(await loop.begin()).toEqual({ type: "drained" });
  expect(settled).toEqual(["retry:m1:0"]);
  expect(loop.outcomes).toEqual([]);
});

test("told to stop after it was told to finish, it stops", async () => {
  const loop = await start(async () => {
    loop.finish();
    loop.stop();
    return { type: "released" };
  });
  peer.enqueue("m1", jobMessage(1));
  expect(await loop.begin()).toEqual({ type: "stopped" });
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

test("a store that refuses different assets is tried with one at a time, after a wait each, until a job is done", async () => {
  const events: string[] = [];
  let running = 0;
  let waits = 0;
  let doneJobs = 0;
  const loop = await start(
    async () => {
      events.push(`job beside ${running++}`);
      // Shut until it has been waited for twice.
      const outcome = waits < 2 ? failedWith("WASABI_FORBIDDEN") : done;
      await new Promise((resolve) => setTimeout(resolve, 20));
      running--;
      if (outcome === done && ++doneJobs === 3) loop.stop();
      return outcome;
    },
    {
      concurrency: 2,
      queue: queueOf([1, 2, 3, 4, 5, 6, 7, 8, 9]),
      onWait: (reason) => {
        events.push(reason === null ? "goes on" : "waits");
        if (reason !== null) waits++;
      },
    },
  );
  expect(await loop.begin()).toEqual({ type: "stopped" });
  const shut = events.slice(events.indexOf("waits"));
  expect(shut.slice(0, 6)).toEqual(["waits", "goes on", "job beside 0", "waits", "goes on", "job beside 0"]);
  expect(shut.slice(6)).toContain("job beside 1");
  expect(waits).toBe(2);
});

test("a runner that is told to stop while it waits for the store stops at once", async () => {
  const waits: (string | null)[] = [];
  const loop = await start(async () => failedWith("WASABI_FORBIDDEN"), {
    queue: queueOf([1, 2, 3]),
    shutOutMs: 600_000,
    onWait: (reason) => {
      waits.push(reason);
      loop.stop();
    },
  });
  expect(await loop.begin()).toEqual({ type: "stopped" });
  expect(waits).toEqual([expect.stringContaining("check its keys"), null]);
  expect(loop.outcomes).toHaveLength(2);
});

test("drain: does not wait for a store that refuses all, and says so", async () => {
  const left = [1, 2, 3];
  const queue = queueOf(left);
  const loop = await start(async () => failedWith("WASABI_FORBIDDEN"), { drain: true, queue, shutOutMs: 600_000 });
  expect(await loop.begin()).toMatchObject({ type: "unfit", reason: expect.stringContaining("check its keys") });
  expect(left).toEqual([3]);
});
