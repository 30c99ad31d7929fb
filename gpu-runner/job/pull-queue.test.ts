import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { ShuttingDown } from "./job-failure.ts";
import { createPullQueue, PullRefused, readBody } from "./pull-queue.ts";
import { jobMessage, type Peer, type PeerOptions, pullToken, startPeer } from "./testing/protocol-peer.ts";

let peer: Peer;
afterEach(() => peer?.stop());

async function queueAt(options: PeerOptions = {}, token = pullToken) {
  peer = await startPeer(options);
  return createPullQueue({
    setting: "MMF_PULL_URL",
    url: peer.pullUrl,
    token,
    visibilityTimeoutMs: 60_000,
    timeoutMs: 2_000,
    backoff: { baseMs: 1, maxMs: 5 },
    random: () => 0.5,
  });
}

const never = new AbortController().signal;
const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64");

test("bodies arrive as base64, as JSON text, or as JSON", async () => {
  const queue = await queueAt();
  const message = jobMessage();
  for (const body of [base64(message), JSON.stringify(message), message]) peer.enqueue("l", body);
  for (let n = 0; n < 3; n++) {
    expect(await queue.pull(never)).toEqual({ leaseId: "l", attempts: 1, message, problem: null });
  }
  expect(await queue.pull(never)).toBeNull();
});

test("what is not a transcode job is handed over as a problem that names the field", async () => {
  expect(readBody("%%%").problem).toMatch(/neither JSON nor base64/);
  expect(readBody(base64({ ...jobMessage(), jobId: "no" })).problem).toMatch(/^jobId: /);
  expect(readBody({ type: "PlaceEdgeCopy" }).message).toBeNull();
});

test("any message survives base64, whatever its characters", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (id) => {
      const message = { ...jobMessage(), id };
      expect(readBody(base64(message)).message).toEqual(message);
      expect(readBody(JSON.stringify(message)).message).toEqual(message);
    }),
  );
});

test("a wrong token is a permanent refusal, and its text does not hold the token", async () => {
  const queue = await queueAt({}, "another-token");
  const error = await queue.pull(never).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(PullRefused);
  expect(error).toMatchObject({ permanent: true, message: expect.stringContaining("401 (wrong token)") });
  expect(String(error)).not.toContain("another-token");
});

test("an ack is tried again after a 503, and after an answer that never comes", async () => {
  let acks = 0;
  const queue = await queueAt({
    onPost: (path, _body, response) => {
      if (path !== "/queue/ack" || ++acks > 2) return false;
      if (acks === 1) response.writeHead(503).end();
      else response.destroy();
      return true;
    },
  });
  await queue.ack("one", never);
  await queue.retry("two", 15, never);
  expect(peer.journal).toEqual(["ack:one", "retry:two:15"]);
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
