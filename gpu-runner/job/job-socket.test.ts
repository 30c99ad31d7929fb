import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import { LeaseLost, ShuttingDown, TokenRefused } from "./job-failure.ts";
import { createJobSocket, type JobSocket, type JobSocketOptions, type LeaseFrame } from "./job-socket.ts";
import { Unreachable } from "./socket-connection.ts";
import { apiToken, jobMessage, lease, type Peer, type PeerOptions, startPeer } from "./testing/protocol-peer.ts";

let peer: Peer;
let socket: JobSocket;
afterEach(async () => {
  socket.close();
  await peer.stop();
});

const never = new AbortController().signal;
const claim = {
  generation: 1,
  runnerId: "r1",
  encoder: "x264",
  capabilities: { ffmpegVersion: "5", encoderReason: "test" },
};
const failed: LeaseFrame = { type: "failed", code: "ENCODER_FAILED", message: "no", retryable: true };

async function open(options: PeerOptions = {}, changes: Partial<JobSocketOptions> = {}) {
  peer = await startPeer(options);
  const { jobId, fileId } = jobMessage();
  socket = createJobSocket({
    url: `${peer.url}/v1/runner/jobs/${jobId}?asset=${fileId}`,
    token: apiToken,
    log: pino({ level: "silent" }),
    handshakeTimeoutMs: 2_000,
    answerTimeoutMs: 2_000,
    pingMs: 1_000,
    backoff: { baseMs: 5, maxMs: 20 },
    random: () => 0.5,
    nowMs: () => performance.now(),
    ...changes,
  });
}

const whenLost = () =>
  new Promise<LeaseLost>((resolve) => {
    if (socket.lost.aborted) resolve(socket.lost.reason);
    socket.lost.addEventListener("abort", () => resolve(socket.lost.reason));
  });

test("a granted claim holds the lease by heartbeats, one every third of it", async () => {
  const sentAtMs: number[] = [];
  await open({
    leaseMs: 2_400,
    answer: ({ frame }) => {
      if (frame.type === "heartbeat") sentAtMs.push(performance.now());
      return undefined;
    },
  });
  const claimedAtMs = performance.now();
  expect(await socket.claim(claim, never)).toMatchObject({ type: "granted", lease });
  await peer.until("frame:heartbeat", 4);
  // A slow machine makes them later, never earlier.
  for (const [index, atMs] of sentAtMs.entries()) expect(atMs - claimedAtMs).toBeGreaterThan(800 * (index + 1) - 20);
  expect(socket.lost.aborted).toBe(false);
  expect(peer.framesOf("heartbeat").every((frame) => frame.lease === lease)).toBe(true);
});

test("every sign of life tells what was read of the source until then", async () => {
  await open({ leaseMs: 1_500 });
  await socket.claim(claim, never);
  socket.noteRead(5_000);
  await peer.until("frame:heartbeat");
  socket.noteRead(9_000);
  peer.cutSockets();
  await peer.until("frame:resume");
  expect(peer.framesOf("heartbeat")[0]?.sourceBytes).toBe(5_000);
  expect(peer.framesOf("resume")[0]?.sourceBytes).toBe(9_000);
});

test("a refused claim says why and leaves no socket", async () => {
  await open({ answer: ({ frame }) => ({ type: "refused", seq: frame.seq, reason: "taken", message: "r2 has it" }) });
  expect(await socket.claim(claim, never)).toMatchObject({ type: "refused", reason: "taken" });
  await peer.until("closed:1");
});

test("a claim tries the socket again, but not when it is told that its token is wrong", async () => {
  await open();
  peer.refuseNextUpgrades(2);
  expect(await socket.claim(claim, never)).toMatchObject({ type: "granted" });
  socket.close();
  await peer.stop();

  await open({}, { token: "wrong" });
  const error = await socket.claim(claim, never).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(Unreachable);
  expect(error).toMatchObject({ status: 401 });
  expect(String(error)).not.toContain("wrong");
});

test("a claim that is never answered settles nothing", async () => {
  await open({ answer: () => null }, { answerTimeoutMs: 30 });
  await expect(socket.claim(claim, never)).rejects.toBeInstanceOf(Unreachable);
  await peer.until("closed:1");
});

test("a claim ends at once when the runner shuts down", async () => {
  await open({ answer: () => null });
  const shutdown = new AbortController();
  const claiming = socket.claim(claim, shutdown.signal);
  await peer.until("frame:claim");
  shutdown.abort(new ShuttingDown("now"));
  await expect(claiming).rejects.toBeInstanceOf(ShuttingDown);
});

test("after a drop the lease is resumed first, and unanswered frames are sent again under their seq", async () => {
  await open({
    answer: ({ frame, connection }) =>
      connection === 1 && (frame.type === "failed" || frame.type === "heartbeat") ? null : undefined,
  });
  await socket.claim(claim, never);
  const answer = socket.request(failed);
  await peer.until("frame:failed");
  peer.refuseNextUpgrades(3);
  peer.cutSockets();
  expect(await answer).toMatchObject({ type: "ok" });
  const second = peer.frames.filter(({ connection }) => connection === 2).map(({ frame }) => frame);
  expect(second[0]).toMatchObject({ type: "resume", lease });
  const sent = peer.framesOf("failed");
  expect(sent).toHaveLength(2);
  expect(sent[1]).toEqual(sent[0]);
  expect(second.slice(1).map((frame) => frame.type)).toContain("failed");
});

test("what is asked while there is no socket goes out after the resume", async () => {
  await open();
  await socket.claim(claim, never);
  peer.cutSockets();
  const answer = socket.request(failed);
  expect(await answer).toMatchObject({ type: "ok" });
  expect(peer.journal.indexOf("frame:resume")).toBeLessThan(peer.journal.indexOf("frame:failed"));
});

test("a refused resume, a refused heartbeat and a cancel each end the lease at once", async () => {
  const refuse = (type: string): PeerOptions => ({
    leaseMs: 300,
    answer: ({ frame }) =>
      frame.type === type ? { type: "refused", seq: frame.seq, reason: "stale", message: "gone" } : undefined,
  });
  for (const trouble of ["resume", "heartbeat", "cancel"] as const) {
    await open(refuse(trouble));
    await socket.claim(claim, never);
    if (trouble === "resume") peer.cutSockets();
    if (trouble === "cancel") peer.broadcast({ type: "cancel", reason: "cancelled", message: "operator" });
    const loss = await whenLost();
    expect(loss).toBeInstanceOf(LeaseLost);
    expect(loss.reason).toBe(trouble === "cancel" ? "cancelled" : "stale");
    await expect(socket.request(failed)).rejects.toBeInstanceOf(LeaseLost);
    await peer.stop();
  }
});

test("a lease that nothing renews expires here too, and requests under way reject", async () => {
  await open({ leaseMs: 150 });
  await socket.claim(claim, never);
  peer.refuseNextUpgrades(1_000);
  peer.cutSockets();
  const answer = socket.request(failed);
  await expect(answer).rejects.toMatchObject({ name: "LeaseLost", reason: "expired" });
  expect(socket.lost.aborted).toBe(true);
});

test("a lease counts from when its claim left, not from when the grant came", async () => {
  let nowMs = 0;
  await open(
    {
      leaseMs: 1_000,
      answer: ({ frame }) => {
        // The grant took most of the lease to come, and no heartbeat is answered.
        if (frame.type === "claim") nowMs += 900;
        return frame.type === "heartbeat" ? null : undefined;
      },
    },
    { nowMs: () => nowMs },
  );
  await socket.claim(claim, never);
  nowMs += 200;
  expect(await whenLost()).toMatchObject({ reason: "expired" });
});

test("a half-open socket is noticed by its silence and replaced", async () => {
  await open({}, { pingMs: 40 });
  await socket.claim(claim, never);
  for (const { socket: webSocket } of peer.frames) webSocket.pause();
  await peer.until("frame:resume");
  expect(socket.lost.aborted).toBe(false);
});

test("a peer that answers pings but not frames gets a new socket", async () => {
  await open(
    {
      leaseMs: 10_000,
      answer: ({ frame, connection }) => (connection === 1 && frame.type === "failed" ? null : undefined),
    },
    { answerTimeoutMs: 100 },
  );
  await socket.claim(claim, never);
  expect(await socket.request(failed)).toMatchObject({ type: "ok" });
  expect(peer.framesOf("resume")).toHaveLength(1);
});

test("frames that cannot be read are ignored", async () => {
  await open();
  await socket.claim(claim, never);
  for (const { socket: webSocket } of peer.frames) {
    webSocket.send("not json");
    webSocket.send(Buffer.from([1, 2, 3]));
    webSocket.send(JSON.stringify({ type: "granted" }));
  }
  expect(await socket.request(failed)).toMatchObject({ type: "ok" });
});

test("a socket that is closed because the token ended is not opened again, and its requests end", async () => {
  await open({ answer: ({ frame }) => (frame.type === "failed" ? null : undefined) });
  await socket.claim(claim, never);
  const asked = socket.request(failed).catch((error: unknown) => error);
  await peer.until("frame:failed");
  peer.closeSockets(4401);
  expect(await whenLost()).toBeInstanceOf(TokenRefused);
  expect(await asked).toBeInstanceOf(TokenRefused);
  await peer.until("closed:1");
  expect(peer.framesOf("resume")).toEqual([]);
});

test("a token that is refused when a dropped socket is opened again ends the job at once", async () => {
  await open();
  await socket.claim(claim, never);
  peer.refuseNextUpgrades(100, 401);
  peer.cutSockets();
  expect(await whenLost()).toBeInstanceOf(TokenRefused);
});

test("a claim whose socket is closed because the token ended says so", async () => {
  const closing: PeerOptions["answer"] = ({ socket }) => {
    socket.close(4401, "The token was revoked.");
    return null;
  };
  await open({ answer: closing });
  const error = await socket.claim(claim, never).catch((fault: unknown) => fault);
  expect(error).toMatchObject({ status: 401, message: expect.stringContaining("4401") });
});
