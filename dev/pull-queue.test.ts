import { setTimeout as sleep } from "node:timers/promises";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listedQueues, localAccountId, pullApiUrl, pullQueueWorker, pullQueueWorkerName } from "./pull-queue.ts";

const token = "a-token-of-runners";
let miniflare: Miniflare;
let base: string;
let rushBase: string;

beforeAll(async () => {
  const pull = await pullQueueWorker({
    port: 0,
    token,
    queueNames: ["transcode", "transcode-rush"],
    maxRetries: 3,
    queues: listedQueues(
      { producers: [{ queue: "transcode" }, { queue: "lonely" }], consumers: [{ queue: "transcode-dead" }] },
      { script: "main", pulled: ["transcode"] },
    ),
  });
  miniflare = new Miniflare(
    convertV4MiniflareOptions({
      cf: false,
      workers: [
        {
          name: "main",
          modules: true,
          compatibilityDate: "2026-01-01",
          script: `const dead = [];
            export default {
              async fetch(request, env) {
                const to = new URL(request.url).pathname === "/rush" ? env.RUSH : env.TRANSCODE;
                if (request.method === "POST") await to.send(await request.json());
                return Response.json(dead);
              },
              async queue(batch) { for (const message of batch.messages) dead.push([batch.queue, message.body]); },
            };`,
          queueProducers: { TRANSCODE: { queueName: "transcode" }, RUSH: { queueName: "transcode-rush" } },
          queueConsumers: { "transcode-dead": { maxBatchTimeout: 0 }, "transcode-rush-dead": { maxBatchTimeout: 0 } },
        },
        pull,
      ],
    }),
  );
  await miniflare.ready;
  const url = await miniflare.unsafeGetDirectURL(pullQueueWorkerName);
  const messagesOf = (queue: string) =>
    `${pullApiUrl(Number(url.port))}/accounts/${localAccountId}/queues/${queue}/messages`;
  base = messagesOf("transcode");
  rushBase = messagesOf("transcode-rush");
});

afterAll(() => miniflare.dispose());

type PulledMessage = {
  id: string;
  attempts: number;
  lease_id: string;
  body: string;
  metadata: object;
};

async function call(operation: "pull" | "ack", body: unknown, bearer = token, queue = base) {
  const response = await fetch(`${queue}/${operation}`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${bearer}`,
      "content-type": "application/json",
    },
    body: JSON.stringify(body),
  });
  return {
    status: response.status,
    envelope: (await response.json()) as { success: boolean; result: unknown },
  };
}

async function pull(visibilityMs: number, queue = base): Promise<PulledMessage[]> {
  const asked = { batch_size: 1, visibility_timeout_ms: visibilityMs };
  const { status, envelope } = await call("pull", asked, token, queue);
  expect(status).toBe(200);
  return (envelope.result as { messages: PulledMessage[] }).messages;
}

/** Pulls until a message is visible; expiry of a lease is the queue's own clock, so this only polls. */
async function pullOne(visibilityMs: number, queue = base): Promise<PulledMessage> {
  for (;;) {
    const [message] = await pull(visibilityMs, queue);
    if (message !== undefined) return message;
    await sleep(20);
  }
}

async function send(body: unknown, path = "/"): Promise<void> {
  await miniflare.dispatchFetch(`http://main${path}`, {
    method: "POST",
    body: JSON.stringify(body),
  });
}

const decode = (message: PulledMessage) => JSON.parse(Buffer.from(message.body, "base64").toString("utf8"));

test("a wrong token is refused and pulls nothing", async () => {
  const { status, envelope } = await call("pull", { batch_size: 1 }, "another-token");
  expect(status).toBe(403);
  expect(envelope.success).toBe(false);
});

test("a leased message is invisible until it is retried, and gone once acked", async () => {
  await send({ jobId: "a", title: "Grüße" });
  const first = await pullOne(60_000);
  expect(decode(first)).toEqual({ jobId: "a", title: "Grüße" });
  expect(first.attempts).toBe(1);
  expect(first.metadata).toMatchObject({ "CF-Content-Type": "json" });
  expect(await pull(60_000)).toEqual([]);

  const retried = await call("ack", {
    retries: [{ lease_id: first.lease_id, delay_seconds: 0 }],
  });
  expect(retried.envelope.result).toMatchObject({ ackCount: 0, retryCount: 1 });
  const second = await pullOne(60_000);
  expect(second).toMatchObject({ id: first.id, attempts: 2 });
  expect(second.lease_id).not.toBe(first.lease_id);

  const stale = await call("ack", { acks: [{ lease_id: first.lease_id }] });
  expect(stale.envelope.result).toMatchObject({ ackCount: 0 });
  const acked = await call("ack", { acks: [{ lease_id: second.lease_id }] });
  expect(acked.envelope.result).toMatchObject({ ackCount: 1 });
  const { envelope } = await call("pull", { batch_size: 1 });
  expect(envelope.result).toEqual({ message_backlog_count: 0, messages: [] });
});

test("a lease that runs out delivers again, and after three retries the message is a dead letter", async () => {
  await send({ jobId: "poison" });
  for (const attempt of [1, 2, 3, 4]) expect((await pullOne(50)).attempts).toBe(attempt);
  await expect
    .poll(async () => (await miniflare.dispatchFetch("http://main/")).json(), {
      timeout: 10_000,
    })
    .toEqual([["transcode-dead", { jobId: "poison" }]]);
  expect(await pull(50)).toEqual([]);
});

test("each queue has its own messages and its own dead letters", async () => {
  await send({ jobId: "rush" }, "/rush");
  expect(decode(await pullOne(50, rushBase))).toEqual({ jobId: "rush" });
  expect(await pull(50)).toEqual([]);
  for (const attempt of [2, 3, 4]) expect((await pullOne(50, rushBase)).attempts).toBe(attempt);
  await expect
    .poll(async () => (await miniflare.dispatchFetch("http://main/")).json(), { timeout: 10_000 })
    .toContainEqual(["transcode-rush-dead", { jobId: "rush" }]);
});

test("a queue that does not exist is an error envelope", async () => {
  const { status, envelope } = await call("pull", { batch_size: 1 }, token, base.replace("transcode", "other"));
  expect(status).toBe(404);
  expect(envelope).toMatchObject({ success: false, errors: [{ code: 11000 }] });
});

test("a late ack is accepted while nobody else holds the message", async () => {
  await send({ jobId: "late" });
  const { lease_id } = await pullOne(0);
  const acked = await call("ack", { acks: [{ lease_id }] });
  expect(acked.envelope.result).toMatchObject({ ackCount: 1 });
});

test("a malformed request is an error envelope", async () => {
  const { status, envelope } = await call("pull", { batch_size: 0 });
  expect(status).toBe(400);
  expect(envelope).toMatchObject({ success: false, errors: [{ code: 10026 }] });
});

test("lists the stack's queues as Cloudflare's API does, to whoever shows the token", async () => {
  const url = base.replace("/transcode/messages", "?page=1");
  expect((await fetch(url)).status).toBe(403);
  const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  expect(await response.json()).toMatchObject({
    success: true,
    result: [
      { queue_name: "transcode", consumers: [{ type: "http_pull", dead_letter_queue: "transcode-dead" }] },
      { queue_name: "lonely", consumers: [] },
      { queue_name: "transcode-dead", consumers: [{ type: "worker", script: "main" }] },
    ],
  });
});
