import { afterEach, expect, test } from "vitest";
import { ShuttingDown } from "./job-failure.ts";
import { createPullQueue, type PullQueue, PullRefused } from "./pull-queue.ts";
import type { JobOutcome } from "./run-job.ts";
import { type RunnerLoopOptions, refusalsInARow, runnerLoop } from "./runner-loop.ts";
import { done, failedWith, quickLoop } from "./testing/loop-options.ts";
import { queueOf } from "./testing/memory-queue.ts";
import { jobMessage, type Peer, pullToken, startPeer } from "./testing/protocol-peer.ts";

let peer: Peer;
afterEach(() => peer?.stop());

async function start(run: RunnerLoopOptions["run"], changes: Partial<RunnerLoopOptions> = {}, pullOptions = {}) {
  peer = await startPeer(pullOptions);
  const shutdown = new AbortController();
  const finish = new AbortController();
  const outcomes: JobOutcome["type"][] = [];
  const queue = createPullQueue({
    setting: "MMF_PULL_URL",
    url: peer.pullUrl,
    token: pullToken,
    visibilityTimeoutMs: 60_000,
    timeoutMs: 2_000,
    backoff: { baseMs: 1, maxMs: 5 },
    random: Math.random,
  });
  const begin = () =>
    runnerLoop({
      ...quickLoop,
      queues: [queue],
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

const numberOf = (fileId: string) => Number(/\d+$/.exec(fileId)?.[0]);

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

test("with one slot and a backlog, a rush job is next, and each message is settled at its own queue", async () => {
  const [rush, normal, settled, order]: [number[], number[], string[], number[]] = [[], [1, 2, 3], [], []];
  const loop = await start(
    async ({ fileId }, settle) => {
      order.push(numberOf(fileId));
      await settle.ack();
      // It arrives while the first job runs.
      if (order.length === 1) rush.push(9);
      return done;
    },
    { drain: true, queues: [queueOf("rush", rush, settled), queueOf("normal", normal, settled)] },
  );
  expect(await loop.begin()).toEqual({ type: "drained" });
  expect(order).toEqual([1, 9, 2, 3]);
  expect(settled).toEqual(["ack:normal-1", "ack:rush-9", "ack:normal-2", "ack:normal-3"]);
});

test("a rush queue that cannot be asked does not hold up the other, and does not count as empty", async () => {
  let refusals = 0;
  const rush = queueOf("rush", [9]);
  const flaky: PullQueue = {
    ...rush,
    pull: (signal) => (++refusals <= 4 ? Promise.reject(new Error("no answer")) : rush.pull(signal)),
  };
  const order: number[] = [];
  const loop = await start(
    async ({ fileId }) => {
      order.push(numberOf(fileId));
      return done;
    },
    { drain: true, queues: [flaky, queueOf("normal", [1, 2])] },
  );
  expect(await loop.begin()).toEqual({ type: "drained" });
  expect(order).toEqual([1, 2, 9]);
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
  peer.enqueue("bad", "%%%");
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
    const status = path === "/queue/pull" ? statusOf(++pulls) : undefined;
    if (status === undefined) return false;
    response.writeHead(status).end(JSON.stringify({ errors: [{ message: "no such queue" }] }));
    return true;
  };
  return { onPost, pulls: () => pulls };
}

test.each([
  ["once", 403],
  ["once", 404],
  ["drain", 403],
  ["drain", 404],
])("%s: a queue that answers %i again and again ends it, with the reason", async (how, status) => {
  const { onPost, pulls } = answeringPulls(() => status);
  const loop = await start(async () => done, { once: how === "once", drain: how === "drain" }, { onPost });
  const end = await loop.begin();
  expect(end).toMatchObject({ type: "refused", reason: expect.stringContaining(`HTTP ${status} (no such queue)`) });
  expect(end).toMatchObject({ reason: expect.stringContaining("MMF_PULL_URL") });
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

test("drain: where one queue refuses, the others are worked off first, and the running jobs end", async () => {
  let ended = 0;
  const refused = new PullRefused("the queue refused to pull", { status: 403, headers: new Headers(), text: "" });
  const rush: PullQueue = { ...queueOf("rush", []), pull: () => Promise.reject(refused) };
  const loop = await start(
    async () => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      ended++;
      return done;
    },
    { drain: true, concurrency: 2, queues: [rush, queueOf("normal", [1, 2, 3])] },
  );
  expect(await loop.begin()).toMatchObject({ type: "refused", reason: expect.stringContaining("rush") });
  expect(ended).toBe(3);
});

test("a runner that serves goes on asking a queue that refuses it", async () => {
  const { onPost, pulls } = answeringPulls((pull) => {
    if (pull === 4 * refusalsInARow) loop.stop();
    return 403;
  });
  const loop = await start(async () => done, {}, { onPost });
  expect(await loop.begin()).toEqual({ type: "stopped" });
  expect(pulls()).toBeGreaterThan(refusalsInARow);
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

test("told to finish while a pull is under way, it gives the message back at once", async () => {
  const settled: string[] = [];
  const queue = queueOf("normal", [1], settled);
  const pull: PullQueue["pull"] = (signal) => {
    loop.finish();
    return queue.pull(signal);
  };
  const loop = await start(async () => done, { queues: [{ ...queue, pull }] });
  expect(await loop.begin()).toEqual({ type: "drained" });
  expect(settled).toEqual(["retry:normal-1:0"]);
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
      queues: [queueOf("normal", [1, 2, 3, 4, 5, 6, 7, 8, 9])],
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
    queues: [queueOf("normal", [1, 2, 3])],
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
  const queues = [queueOf("normal", left)];
  const loop = await start(async () => failedWith("WASABI_FORBIDDEN"), { drain: true, queues, shutOutMs: 600_000 });
  expect(await loop.begin()).toMatchObject({ type: "unfit", reason: expect.stringContaining("check its keys") });
  expect(left).toEqual([3]);
});
