/** The real encoder and the real sockets against a peer that follows the protocol. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { defaultLadder, type LadderPolicy } from "../../schemas/ladder.ts";
import { type Binaries, findBinaries } from "../media/binaries.ts";
import { chooseEncoder, type EncoderChoice } from "../media/encoder-probe.ts";
import { decodedFrames, makeTestFolder, probeJson, runFfmpeg } from "../media/testing/ffmpeg-clip.ts";
import { redactor } from "../redact.ts";
import { childrenOf } from "../testing/child-process.ts";
import { ShuttingDown } from "./job-failure.ts";
import { jobTiming } from "./job-timing.ts";
import { runJob } from "./run-job.ts";
import { apiToken, jobMessage, type Peer, type PeerOptions, startPeer } from "./testing/protocol-peer.ts";

// Real encodes, on machines that may have other work.
vi.setConfig({ testTimeout: 120_000 });

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
let short: Buffer;
let long: Buffer;
let binaries: Binaries;
let encoder: EncoderChoice;
let peer: Peer;

beforeAll(async () => {
  folder = await makeTestFolder();
  // Its own, so that what lies there is this job's: other tests run beside this one.
  process.env.TMPDIR = folder.path;
  const file = (name: string) => join(folder.path, name);
  const pictures = ["-f", "lavfi", "-i", "testsrc2=size=256x144:rate=25:duration=2"];
  const sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=2"];
  const encoding = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac".split(" ");
  await runFfmpeg([...pictures, ...sound, ...encoding, file("short.mp4")]);
  await runFfmpeg(["-stream_loop", "599", "-i", file("short.mp4"), "-c", "copy", file("long.mp4")]);
  [short, long] = await Promise.all([readFile(file("short.mp4")), readFile(file("long.mp4"))]);
  binaries = await findBinaries(process.env);
  encoder = await chooseEncoder(binaries, "x264", 1);
}, 120_000);
afterAll(async () => {
  delete process.env.TMPDIR;
  await folder.remove();
});
afterEach(async () => {
  await peer.stop();
});

/** Small pictures: what is tested here is the job, not the encoder. */
const ladder: LadderPolicy = {
  ...defaultLadder,
  rungs: [
    { quality: "360p", shortSidePx: 72, maxRateBps: 800_000, crf: 22, cq: 23 },
    { quality: "540p", shortSidePx: 144, maxRateBps: 1_600_000, crf: 22, cq: 23 },
  ],
};
const backoff = { baseMs: 5, maxMs: 50 };

async function start(options: PeerOptions = {}, outputsAtOnce?: number) {
  peer = await startPeer({ source: short, ladder, ...options });
  const message = jobMessage();
  const shutdown = new AbortController();
  const lines: string[] = [];
  const redact = redactor([apiToken]);
  const outcome = runJob({
    message,
    settle: {
      ack: async () => void peer.journal.push("ack"),
      retry: async (seconds) => void peer.journal.push(`retry:${seconds}`),
    },
    api: { url: peer.url, token: apiToken },
    runnerId: "runner-1",
    encoder: outputsAtOnce === undefined ? encoder : { ...encoder, outputsAtOnce },
    binaries,
    timing: {
      ...jobTiming,
      socket: { ...jobTiming.socket, backoff },
      api: { ...jobTiming.api, attempts: 3, backoff },
      parts: { ...jobTiming.parts, attempts: 4, backoff },
    },
    shutdown: shutdown.signal,
    redact,
    onProgress: () => undefined,
    log: pino({ level: "debug" }, { write: (line: string) => lines.push(redact(line)) }),
  });
  return { outcome, shutdown, lines };
}

/** Of this process: what a job must not leave behind. */
async function childProcesses(): Promise<string[]> {
  const names = (await childrenOf(process.pid)).map(({ name }) => name);
  return names.filter((name) => name === "ffmpeg" || name === "ffprobe");
}

async function expectNothingLeft(): Promise<void> {
  expect(await childProcesses()).toEqual([]);
  expect((await readdir(folder.path)).filter((name) => name.startsWith("encode-"))).toEqual([]);
  await peer.until(/^closed:/);
  expect(peer.openSockets()).toBe(0);
}

test("a job goes from its claim to whole renditions, in the protocol's order", async () => {
  const { outcome, lines } = await start();
  expect(await outcome).toEqual({ type: "done", renditions: 2 });
  const { journal } = peer;
  expect(journal.indexOf("frame:claim")).toBe(0);
  expect(journal.indexOf("ack")).toBeGreaterThan(0);
  expect(journal.indexOf("ack")).toBeLessThan(journal.indexOf("frame:probed"));
  expect(journal.filter((entry) => entry === "ack" || entry.startsWith("retry"))).toEqual(["ack"]);

  const uploaded = peer.framesOf("uploaded");
  expect(uploaded.map((frame) => frame.quality).sort()).toEqual(["360p", "540p"]);
  for (const frame of uploaded) {
    const bytes = peer.rendition(frame.quality);
    expect(frame).toMatchObject({ frames: 50, sizeBytes: bytes.length });
    expect(frame.parts.map((part) => part.md5)).toEqual(
      frame.parts.map((part) => peer.parts.get(`${frame.quality}/${part.n}`)?.md5),
    );
    const file = join(folder.path, `${frame.quality}.mp4`);
    await writeFile(file, bytes);
    expect((await decodedFrames(file)).split("\n").filter((line) => line.startsWith("0,"))).toHaveLength(50);
    expect(await probeJson(file, ["-show_streams"])).toMatchObject({ streams: [{ height: frame.height }, {}] });
  }
  const log = lines.join("");
  expect(log).toContain("claimed");
  for (const secret of [apiToken, "part-signature", "source-signature"]) expect(log).not.toContain(secret);
  await expectNothingLeft();
});

test("a refused claim acks the message, unless the job is only not ready", async () => {
  for (const [reason, settled] of [
    ["taken", "ack"],
    ["stale", "ack"],
    ["not-ready", "retry:15"],
  ] as const) {
    const { outcome } = await start({
      answer: ({ frame }) => ({ type: "refused", seq: frame.seq, reason, message: "no" }),
    });
    expect(await outcome).toEqual({ type: "refused", reason });
    expect(peer.journal.filter((entry) => /^(ack|retry)/.test(entry))).toEqual([settled]);
    await expectNothingLeft();
    await peer.stop();
  }
});

test("a claim that reaches nobody leaves the message alone", async () => {
  const { outcome } = await start();
  peer.refuseNextUpgrades(1_000);
  expect(await outcome).toMatchObject({ type: "unreachable" });
  expect(peer.journal.filter((entry) => /^(ack|retry)/.test(entry))).toEqual([]);
});

test("a source that is no media is reported with its own code, and not worth another try", async () => {
  const { outcome } = await start({ source: Buffer.from("This is a text file, whatever its name says.\n".repeat(50)) });
  expect(await outcome).toMatchObject({ type: "failed", code: "INVALID_MEDIA", retryable: false });
  expect(peer.framesOf("failed")).toMatchObject([{ code: "INVALID_MEDIA", retryable: false }]);
  await expectNothingLeft();
});

test("a cancel kills the encode at once; nothing more is said or sent", async () => {
  const { outcome } = await start({ source: long });
  await peer.until("frame:progress");
  expect(await childProcesses()).toEqual(["ffmpeg"]);
  peer.broadcast({ type: "cancel", reason: "cancelled", message: "by an operator" });
  expect(await outcome).toMatchObject({ type: "lost", reason: "cancelled" });
  expect(peer.framesOf("failed")).toEqual([]);
  await expectNothingLeft();
});

test("a lease that the parts door calls lost ends the job in silence", async () => {
  const { outcome } = await start({
    onPost: (path, _body, response) => {
      if (!path.endsWith("/parts")) return false;
      response
        .writeHead(409, { "content-type": "application/problem+json" })
        .end(JSON.stringify({ code: "LEASE_LOST" }));
      return true;
    },
  });
  expect(await outcome).toMatchObject({ type: "lost" });
  expect(peer.framesOf("failed")).toEqual([]);
  await expectNothingLeft();
});

test("a runner without permission blames itself, not the asset", async () => {
  const { outcome } = await start({
    onPost: (path, _body, response) => {
      if (!path.endsWith("/parts")) return false;
      response.writeHead(403).end(JSON.stringify({ code: "FORBIDDEN", detail: "wrong role" }));
      return true;
    },
  });
  expect(await outcome).toMatchObject({ type: "failed", code: "RUNNER_FAILED", retryable: true });
  expect(peer.framesOf("failed")).toMatchObject([{ code: "RUNNER_FAILED", retryable: true }]);
  await expectNothingLeft();
});

test("a token that the API takes no longer ends the job without a word about the asset", async () => {
  const { outcome } = await start({
    onPost: (path, _body, response) => {
      if (!path.endsWith("/parts")) return false;
      response.writeHead(401).end(JSON.stringify({ code: "UNAUTHENTICATED", detail: "The token was revoked." }));
      return true;
    },
  });
  expect(await outcome).toMatchObject({
    type: "token-refused",
    message: expect.stringContaining("The token was revoked."),
  });
  expect(peer.framesOf("failed")).toEqual([]);
  await expectNothingLeft();
});

test("a store that takes no part fails the job, and the lease hears of it", async () => {
  const { outcome } = await start({
    onPut: (request, response) => {
      request.resume();
      response.writeHead(503).end("<Error><Code>SlowDown</Code></Error>");
      return true;
    },
  });
  expect(await outcome).toMatchObject({ type: "failed", code: "WASABI_UNAVAILABLE", retryable: true });
  expect(peer.framesOf("failed")[0]?.message).not.toContain("X-Amz");
  await expectNothingLeft();
});

test("a rendition of an early run is told while the next is encoded, and is not lost when that fails", async () => {
  const { outcome } = await start(
    {
      onPut: (request, response, { quality }) => {
        if (quality !== "540p") return false;
        request.resume();
        response.writeHead(503).end("<Error><Code>SlowDown</Code></Error>");
        return true;
      },
    },
    1,
  );
  expect(await outcome).toMatchObject({ type: "failed", code: "WASABI_UNAVAILABLE" });
  expect(peer.framesOf("uploaded")).toMatchObject([{ quality: "360p", frames: 50 }]);
  expect(peer.journal.indexOf("frame:uploaded")).toBeLessThan(peer.journal.indexOf("frame:failed"));
  expect(peer.journal.filter((entry) => entry === "frame:failed")).toHaveLength(1);
  await expectNothingLeft();
});

test("a rendition that the object does not take ends the job, though others are still on their way", async () => {
  const { outcome } = await start(
    {
      // The second run cannot end before the answer to the first's rendition is there.
      onPut: (request, _response, { quality }) => {
        if (quality === "540p") request.resume();
        return quality === "540p";
      },
      answer: ({ frame }) =>
        frame.type === "uploaded"
          ? { type: "refused", seq: frame.seq, reason: "stale", message: "a newer job has it" }
          : undefined,
    },
    1,
  );
  expect(await outcome).toMatchObject({ type: "lost", reason: "stale" });
  expect(peer.framesOf("uploaded")).toHaveLength(1);
  expect(peer.framesOf("failed")).toEqual([]);
  await expectNothingLeft();
});

test("renditions reported over a socket that drops are reported again on the next", async () => {
  let dropped = false;
  const { outcome } = await start({
    answer: ({ frame, socket }) => {
      if (frame.type !== "uploaded" || dropped) return undefined;
      dropped = true;
      socket.terminate();
      return null;
    },
  });
  expect(await outcome).toEqual({ type: "done", renditions: 2 });
  expect(peer.framesOf("resume")).toHaveLength(1);
  expect(peer.framesOf("uploaded").length).toBeGreaterThan(2);
  expect(new Set(peer.framesOf("uploaded").map((frame) => `${frame.quality}/${frame.seq}`)).size).toBe(2);
});

test("a lease that ended with the last rendition, whose answer was lost, is a job done", async () => {
  const taken = new Set<string>();
  const { outcome } = await start({
    answer: ({ frame, socket }) => {
      if (frame.type === "resume")
        return { type: "refused", seq: frame.seq, reason: "finished", message: "nothing left" };
      if (frame.type !== "uploaded" || taken.has(frame.quality)) return undefined;
      taken.add(frame.quality);
      if (taken.size < 2) return undefined;
      socket.terminate();
      return null;
    },
  });
  expect(await outcome).toEqual({ type: "done", renditions: 2 });
  expect(peer.framesOf("uploaded")).toHaveLength(3);
});

test("what the job has archived already is not encoded again", async () => {
  const { outcome } = await start({
    answer: ({ frame }) => {
      const grant = frame.type === "claim" ? peer.grantFor(frame.seq) : undefined;
      return grant?.type === "granted" ? { ...grant, archived: ["360p"] } : undefined;
    },
  });
  expect(await outcome).toEqual({ type: "done", renditions: 1 });
  expect(peer.framesOf("uploaded").map((frame) => frame.quality)).toEqual(["540p"]);
});

test("a shutdown stops ffmpeg and gives the job back", async () => {
  const { outcome, shutdown } = await start({ source: long });
  await peer.until("frame:progress");
  shutdown.abort(new ShuttingDown("SIGTERM"));
  expect(await outcome).toEqual({ type: "released" });
  expect(peer.framesOf("release")).toMatchObject([{ reason: "SIGTERM" }]);
  await expectNothingLeft();
});

test("progress tells each rendition's percentage and stored bytes", async () => {
  const { outcome, shutdown } = await start({ source: long });
  await peer.until("frame:progress", 3);
  shutdown.abort(new ShuttingDown("enough"));
  await outcome;
  const last = peer.framesOf("progress").at(-1);
  expect(last?.renditions.map((rendition) => rendition.quality)).toEqual(["360p", "540p"]);
  expect(last?.fps).toBeGreaterThan(0);
});
