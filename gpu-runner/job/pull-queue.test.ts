import { afterEach, expect, test } from "vitest";
import { ShuttingDown } from "./job-failure.ts";
import { createPullQueue, PullRefused } from "./pull-queue.ts";
import { apiToken, jobMessage, type Peer, type PeerOptions, pullPath, startPeer } from "./testing/protocol-peer.ts";

let peer: Peer;
afterEach(() => peer?.stop());

async function queueAt(options: PeerOptions = {}, { token = apiToken, waitSeconds = 0 } = {}) {
  peer = await startPeer(options);
  return createPullQueue({
    apiUrl: peer.url,
    token,
    waitSeconds,
    rushOnly: false,
    timeoutMs: 2_000,
    backoff: { baseMs: 1, maxMs: 5 },
    random: () => 0.5,
  });
}

const never = new AbortController().signal;
const lease = (leaseId: string) => ({ queue: "transcode", leaseId }) as const;

test("a message comes with its queue, its lease, and fields that are not known here", async () => {
  const queue = await queueAt();
  const message = { ...jobMessage(), of: "a newer version" };
  peer.enqueue("l", message);
  expect(await queue.pull(never)).toEqual({ queue: "transcode", leaseId: "l", attempts: 1, message });
  expect(await queue.pull(never)).toBeNull();
});

test("a pull waits at the API until a message comes", async () => {
  const queue = await queueAt({}, { waitSeconds: 20 });
  const pulling = queue.pull(never);
  await peer.until("pull");
  peer.enqueue("l", jobMessage());
  expect(await pulling).toMatchObject({ leaseId: "l" });
  expect(peer.journal).toEqual(["pull"]);
});

test("a wrong token is a permanent refusal, and its text does not hold the token", async () => {
  const queue = await queueAt({}, { token: "another-token" });
  const error = await queue.pull(never).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(PullRefused);
  expect(error).toMatchObject({ permanent: true, message: expect.stringContaining("401 (wrong token)") });
  expect(String(error)).not.toContain("another-token");
});

test.each([
  [
    404,
    { code: "NOT_FOUND", detail: "There is no such address." },
    true,
    "older than this runner: deploy the worker first",
  ],
  [404, "<h1>nginx</h1>", true, "HTTP 404"],
  [
    503,
    { code: "UNAVAILABLE", detail: "The queues' API answered 403: check QUEUES_TOKEN." },
    false,
    "check QUEUES_TOKEN",
  ],
  [200, { pulled: { leaseId: "l" } }, false, "cannot be read"],
])("an answer of %i %j is told, permanent: %s", async (status, body, permanent, says) => {
  const queue = await queueAt({
    onPost: (_path, _body, response) => {
      response.writeHead(status).end(typeof body === "string" ? body : JSON.stringify(body));
      return true;
    },
  });
  const error = await queue.pull(never).catch((e: unknown) => e);
  expect(error).toMatchObject({ name: "PullRefused", permanent, message: expect.stringContaining(says) });
});

test("an ack is tried again after a 503, and after an answer that never comes", async () => {
  let acks = 0;
  const queue = await queueAt({
    onPost: (path, _body, response) => {
      if (!path.endsWith("/ack") || ++acks > 2) return false;
      if (acks === 1) response.writeHead(503).end();
      else response.destroy();
      return true;
    },
  });
  await queue.ack(lease("one"), never);
  await queue.retry(lease("two"), 15, never);
  expect(peer.journal).toEqual(["ack:one", "retry:two:15"]);
});

test("a pull that breaks off while it waits, as when the worker dies, throws what can be asked again", async () => {
  const queue = await queueAt({
    onPost: (path, _body, response) => {
      if (path !== pullPath) return false;
      response.writeHead(200).write(" ", () => response.destroy());
      return true;
    },
  });
  await expect(queue.pull(never)).rejects.toMatchObject({ name: "Unanswered" });
});

test("a pull ends at once when the runner shuts down", async () => {
  const shutdown = new AbortController();
  const queue = await queueAt({
    onPost: () => {
      shutdown.abort(new ShuttingDown("now"));
      return true;
    },
  });
  await expect(queue.pull(shutdown.signal)).rejects.toBeInstanceOf(ShuttingDown);
});
