/**
 * An operator cancels a long encode: its ffmpeg dies at once, nothing of it is left, the runner goes on with the next job,
 * and a retry makes all of it.
 */
import { readdirSync } from "node:fs";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { openArchiveUploads } from "../../dev/archive-state.ts";
import { eventually } from "../../dev/eventually.ts";
import { leftovers, nothing } from "../../dev/persisted-state.ts";
import { isRunning, programOf } from "../../dev/process-table.ts";
import { defaultLadder } from "../../schemas/ladder.ts";
import { Asset } from "./asset-document.ts";
import { ClipFolder } from "./media-clip.ts";
import { decodingErrors } from "./media-file.ts";
import { type PipelineClient, problemOf } from "./pipeline-client.ts";
import { expectRest } from "./resting-stack.ts";
import { StackProcess } from "./stack-process.ts";

/** The promise is one second; the rest is for a machine that is busy with other things. */
const killTimeoutMs = 3_000;
const stepTimeoutMs = 60_000;
const encodeTimeoutMs = 240_000;

/** A high rate and small parts at the top, so that parts are on their way to Wasabi long before the encode ends. */
const policy = {
  ladder: {
    ...defaultLadder,
    partSizeBytes: 5 * 1024 * 1024,
    rungs: defaultLadder.rungs
      .slice(0, 2)
      .map((rung) => (rung.quality === "540p" ? { ...rung, maxRateBps: 20_000_000, crf: 12 } : rung)),
  },
};

let stack: StackProcess;
let clips: ClipFolder;
let client: PipelineClient;
const fileIds: string[] = [];

beforeAll(async () => {
  [clips, stack] = await Promise.all([ClipFolder.make(), StackProcess.start({ policy })]);
  client = await stack.client();
});

afterAll(async () => {
  await stack?.destroy();
  await clips?.remove();
});

afterEach(() => expectRest(stack, client, fileIds), 120_000);

async function ingest(film: string): Promise<string> {
  const { fileId } = await client.ingest(film);
  fileIds.push(fileId);
  return fileId;
}

async function order(fileId: string, verb: "cancel" | "retry"): Promise<Asset> {
  const { admin } = client.stack.tokens;
  const answer = await client.request("POST", `/v1/admin/assets/${fileId}/${verb}`, { token: admin });
  if (answer.status !== 200) throw new Error(`${verb}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return Asset.parse(answer.body);
}

const encoders = () => stack.processes().filter((entry) => /^ff(mpeg|probe)$/.test(programOf(entry)));
const socketFolders = () => readdirSync(stack.temporaryDirectory).filter((name) => name.startsWith("encode-"));

test("a long encode is cancelled while another job waits, which is cancelled too; then both are made after all", async () => {
  const [long, short] = await Promise.all([
    clips.clip({ width: 960, height: 540, seconds: 24, grain: 40, sound: false }),
    clips.clip({ width: 640, height: 360, seconds: 1 }),
  ]);
  const fileId = await ingest(long);
  const socket = client.watch(fileId);
  await socket.until(
    (frame) =>
      frame.type === "progress" &&
      (frame.renditions as { uploadedBytes: number }[]).some(({ uploadedBytes }) => uploadedBytes > 0),
    encodeTimeoutMs,
  );
  const waiting = await ingest(short);
  await client.followTo(waiting, "archived", stepTimeoutMs);
  expect(await order(waiting, "cancel")).toMatchObject({ state: "cancelled", problem: { code: "CANCELLED" } });
  const { pid: runner, processes } = await stack.child("gpu-runner");
  const [ffmpeg] = processes.filter((entry) => programOf(entry) === "ffmpeg");
  if (ffmpeg === undefined) throw new Error("the runner has no ffmpeg");
  expect((await openArchiveUploads(stack.dataDirectory)).length, "uploads under way").toBeGreaterThan(0);
  expect(socketFolders()).toHaveLength(1);

  const orderedAtMs = performance.now();
  const cancelled = await order(fileId, "cancel");
  const answeredAtMs = performance.now();
  await eventually({ what: "the end of ffmpeg", timeoutMs: killTimeoutMs, everyMs: 5 }, () => !isRunning(ffmpeg.pid));
  const killedAtMs = performance.now();
  expect(killedAtMs - orderedAtMs, "from the order to ffmpeg's end").toBeLessThan(killTimeoutMs);
  console.log(
    `cancel answered in ${(answeredAtMs - orderedAtMs).toFixed(0)} ms, ffmpeg gone ${(killedAtMs - orderedAtMs).toFixed(0)} ms after the order`,
  );
  expect(cancelled).toMatchObject({ state: "cancelled", progress: null, problem: { code: "CANCELLED" } });
  await socket.until(
    (frame) => frame.type === "asset" && (frame as { asset: Asset }).asset.problem?.code === "CANCELLED",
    stepTimeoutMs,
  );
  socket.close();

  // The message of the job that waited is refused and gone: no ffmpeg starts for it.
  const refused = () => stack.log("gpu-runner").includes('"reason":"cancelled","msg":"claim refused"');
  await eventually({ what: "the refused claim", timeoutMs: stepTimeoutMs }, refused);
  await eventually({ what: "nothing left of both", timeoutMs: stepTimeoutMs }, async () => {
    if ((await openArchiveUploads(stack.dataDirectory)).length > 0) return false;
    const left = JSON.stringify(leftovers(stack.dataDirectory)) === JSON.stringify(nothing);
    return left && encoders().length === 0 && socketFolders().length === 0;
  });
  expect((await stack.child("gpu-runner")).pid, "the runner lives on").toBe(runner);
  expect(isRunning(runner)).toBe(true);

  const next = await ingest(short);
  await client.followTo(next, "distributed", encodeTimeoutMs);
  const late = await client.request("POST", `/v1/admin/assets/${next}/cancel`, { token: client.stack.tokens.admin });
  expect(problemOf(late, 409)).toMatchObject({ code: "CONFLICT", detail: expect.stringContaining("distributed") });
  const viewers = await client.request("POST", `/v1/admin/assets/${next}/cancel`, {
    token: client.stack.tokens.viewer,
  });
  expect(problemOf(viewers, 403).code).toBe("FORBIDDEN");

  for (const again of [waiting, fileId]) {
    expect(await order(again, "retry")).toMatchObject({ state: "archived", problem: null });
    const asset = await client.followTo(again, "distributed", encodeTimeoutMs);
    expect(asset.problem).toBeNull();
    for (const { quality } of asset.renditions) {
      expect(await decodingErrors(await client.playbackUrl(again, quality)), `${again} ${quality}`).toBe("");
    }
    const events = (await client.history(again)).map(({ event }) => event);
    expect(events.filter((event) => /Cancel|Retry/.test(event))).toEqual(["CancelRequested", "RetryRequested"]);
    const told = await eventually({ what: "the last call", timeoutMs: stepTimeoutMs }, async () => {
      const types = (await client.appCalls(again)).map(({ body }) => body.type);
      return types.includes("asset.distributed") && types;
    });
    expect(told).toEqual(expect.arrayContaining(["asset.archived", "asset.cancelled", "asset.encoded"]));
  }
}, 900_000);
