/** A runner that dies or is stopped in the middle of an encode: the job goes on, and nothing of the first try remains. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { openArchiveUploads } from "../../dev/archive-state.ts";
import { compositeSha256 } from "../../dev/composite-checksum.ts";
import { eventually } from "../../dev/eventually.ts";
import { isRunning, programOf } from "../../dev/process-table.ts";
import { defaultLadder } from "../../schemas/ladder.ts";
import type { Asset } from "./asset-document.ts";
import { ClipFolder } from "./media-clip.ts";
import { type MediaFacts, probeMedia } from "./media-file.ts";
import { type PipelineClient, proxyKeyOf } from "./pipeline-client.ts";
import { expectRest } from "./resting-stack.ts";
import { StackProcess } from "./stack-process.ts";

const leaseMs = 10_000;
/** The promise: distributed within the lease, half a minute and the encode. */
const recoveryMs = leaseMs + 30_000;
const encodeTimeoutMs = 180_000;

/** A high rate and small parts at the top, so that parts are on their way to Wasabi long before the encode ends. */
const policy = {
  leaseMs,
  ladder: {
    ...defaultLadder,
    partSizeBytes: 5 * 1024 * 1024,
    rungs: defaultLadder.rungs
      .slice(0, 2)
      .map((rung) => (rung.quality === "540p" ? { ...rung, maxRateBps: 60_000_000, crf: 8 } : rung)),
  },
};

let stack: StackProcess;
let clips: ClipFolder;
let client: PipelineClient;
let film: string;
let source: MediaFacts;
const fileIds: string[] = [];

beforeAll(async () => {
  [clips, stack] = await Promise.all([ClipFolder.make(), StackProcess.start({ policy })]);
  client = await stack.client();
  // Long enough that most of the encode is still to come when its first part has arrived, on a fast machine too.
  film = await clips.clip({ width: 960, height: 540, seconds: 6, grain: 40 });
  source = await probeMedia(film);
});

afterAll(async () => {
  await stack?.destroy();
  await clips?.remove();
});

afterEach(() => expectRest(stack, client, fileIds), 120_000);

async function ingest(): Promise<string> {
  const { fileId } = await client.ingest(film);
  fileIds.push(fileId);
  return fileId;
}

/** Waits until the asset's encode runs and has bytes in Wasabi. @returns ffmpeg's pid */
async function untilEncoding(fileId: string): Promise<number> {
  const socket = client.watch(fileId);
  try {
    await socket.until(
      (frame) =>
        frame.type === "progress" &&
        (frame.renditions as { uploadedBytes: number }[]).some(({ uploadedBytes }) => uploadedBytes > 0),
      encodeTimeoutMs,
    );
  } finally {
    socket.close();
  }
  const { processes } = await stack.child("gpu-runner");
  const ffmpeg = processes.filter((entry) => programOf(entry) === "ffmpeg").map(({ pid }) => pid);
  expect(ffmpeg, "one ffmpeg for all renditions").toHaveLength(1);
  expect((await openArchiveUploads(stack.dataDirectory)).length, "uploads under way").toBeGreaterThan(0);
  return ffmpeg[0] ?? 0;
}

async function expectOneWinner(fileId: string): Promise<void> {
  const asset = await client.asset(fileId);
  const history = await client.history(fileId);
  for (const { quality, frames, sizeBytes, sha256 } of asset.renditions) {
    const winners = history.filter(({ event, detail }) => event === "RenditionArchived" && detail.quality === quality);
    expect(winners, quality).toHaveLength(1);
    const bytes = await client.getWasabi(proxyKeyOf(asset, quality));
    expect(bytes.length, quality).toBe(sizeBytes);
    expect(compositeSha256(bytes, sha256?.partSizeBytes ?? 1), quality).toBe(sha256?.composite);
    const facts = await probeMedia(await clips.write(`${fileId}-${quality}.mp4`, bytes));
    expect([facts.video.frames, frames], quality).toEqual([source.video.frames, source.video.frames]);
  }
  expect(asset.renditions.map(({ quality }) => quality).sort()).toEqual(["360p", "540p"]);
}

test("SIGTERM of the runner, then Ctrl-C of the stack: each gives the job back at once, and the next runner goes on", async () => {
  const fileId = await ingest();
  const ffmpeg = await untilEncoding(fileId);
  const runner = await stack.signalChild("gpu-runner", "SIGTERM");
  await eventually({ what: "the end of the runner", timeoutMs: 15_000 }, () => ![runner, ffmpeg].some(isRunning));

  const isSecond = ({ generation, state }: Asset) => generation === 2 && state === "transcoding";
  await client.follow(fileId, isSecond, encodeTimeoutMs);
  await untilEncoding(fileId);
  expect(await stack.stop()).toEqual([]);

  await stack.start();
  const asset = await client.followTo(fileId, "distributed", encodeTimeoutMs);
  const events = (await client.history(fileId)).map(({ event }) => event);
  expect(events.filter((event) => event === "LeaseReleased")).toHaveLength(2);
  expect(events.filter((event) => event === "TranscodeClaimed")).toHaveLength(3);
  expect(events).not.toContain("LeaseExpired");
  expect([asset.generation, asset.problem]).toEqual([3, null]);
  await expectOneWinner(fileId);
});

test("kill -9 in the middle of an encode: another try begins when the lease is over, and one of them wins", async () => {
  const fileId = await ingest();
  const ffmpeg = await untilEncoding(fileId);
  const killedAtMs = Date.now();
  const runner = await stack.signalChild("gpu-runner", "SIGKILL");
  await eventually({ what: "the end of ffmpeg", timeoutMs: 15_000 }, () => ![runner, ffmpeg].some(isRunning));
  const asset = await client.followTo(fileId, "distributed", encodeTimeoutMs);

  const history = await client.history(fileId);
  const claims = history.filter(({ event }) => event === "TranscodeClaimed");
  expect(claims).toHaveLength(2);
  expect(history.filter(({ event }) => event === "LeaseExpired")).toHaveLength(1);
  expect(asset.generation).toBe(2);
  const encodeMs = timeOf(history, "RenditionUploaded") - Date.parse(claims[1]?.at ?? "");
  const distributedMs = Date.parse(history.find(({ state }) => state === "distributed")?.at ?? "");
  expect(distributedMs - killedAtMs).toBeLessThan(recoveryMs + encodeMs);
  await expectOneWinner(fileId);
});

/** When an event came last. */
function timeOf(history: readonly { event: string; at: string }[], event: string): number {
  return Math.max(...history.filter((entry) => entry.event === event).map(({ at }) => Date.parse(at)));
}
