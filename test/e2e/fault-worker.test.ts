/** kill -9 of the worker, alone or with everything around it: what was decided is carried out after the restart. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { eventually } from "../../dev/eventually.ts";
import { isRunning } from "../../dev/process-table.ts";
import { ClipFolder } from "./media-clip.ts";
import { decodingErrors } from "./media-file.ts";
import type { PipelineClient } from "./pipeline-client.ts";
import { expectRest } from "./resting-stack.ts";
import { StackProcess } from "./stack-process.ts";

/** The promise: distributed within a minute of being up again. */
const promiseMs = 60_000;
const encodeTimeoutMs = 150_000;

let stack: StackProcess;
let clips: ClipFolder;
let client: PipelineClient;
const fileIds: string[] = [];

beforeAll(async () => {
  [clips, stack] = await Promise.all([ClipFolder.make(), StackProcess.start()]);
  client = await stack.client();
});

afterAll(async () => {
  await stack?.destroy();
  await clips?.remove();
});

afterEach(() => expectRest(stack, client, fileIds), 120_000);

async function ingest(seconds: number): Promise<string> {
  const film = await clips.clip({ width: 960, height: 540, seconds });
  const { fileId } = await client.ingest(film);
  fileIds.push(fileId);
  return fileId;
}

test("everything killed in the middle of distribution: distributed within a minute of being up again", async () => {
  // An agent that does not answer holds distribution open until the axe falls.
  await stack.signalChild("lucid-agent", "SIGSTOP", "group");
  const fileId = await ingest(2);
  const before = await client.followTo(fileId, "distributing", encodeTimeoutMs);
  await stack.killEverything();
  expect(stack.processes()).toEqual([]);

  await stack.start();
  const after = await client.followTo(fileId, "distributed", promiseMs);
  expect(after.problem).toBeNull();
  expect([after.jobId, after.generation]).toEqual([before.jobId, before.generation]);
  for (const quality of ["360p", "540p"]) {
    expect(await decodingErrors(await client.playbackUrl(fileId, quality)), quality).toBe("");
  }
  const claims = (await client.history(fileId)).filter(({ event }) => event === "TranscodeClaimed");
  expect(claims, "nothing is encoded twice").toHaveLength(1);
  // Calls of earlier phases may be missing: the local queue forgets what it held, Cloudflare's keeps it.
  await eventually({ what: "the call about the end", timeoutMs: 30_000 }, async () => {
    const types = (await client.appCalls(fileId)).map(({ body }) => body.type);
    return types.includes("asset.distributed");
  });
});

test("the worker killed in the middle of an encode: the runner comes back under its lease, nothing is encoded twice", async () => {
  const fileId = await ingest(12);
  const socket = client.watch(fileId);
  await socket.until((frame) => frame.type === "progress", encodeTimeoutMs);
  socket.close();
  const worker = await stack.signalChild("worker", "SIGKILL", "group");
  await eventually({ what: "the end of the worker", timeoutMs: 15_000, everyMs: 20 }, () => !isRunning(worker));

  const asset = await client.followTo(fileId, "distributed", encodeTimeoutMs);
  expect(asset.generation).toBe(1);
  const events = (await client.history(fileId)).map(({ event }) => event);
  expect(events.filter((event) => event === "TranscodeClaimed")).toHaveLength(1);
  expect(events.filter((event) => event === "RenditionArchived")).toHaveLength(2);
});
