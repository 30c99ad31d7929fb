/**
 * Rule 6: no object is ever buffered whole. A file larger than a worker's 128 MB is brought in from a URL; the worker's
 * process must not grow by what a buffered copy would take.
 */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newFileId, originalKeyOf, type PipelineClient, type Upload } from "./pipeline-client.ts";
import { RangeOrigin } from "./range-origin.ts";
import { StackProcess } from "./stack-process.ts";

const mebibyte = 1024 * 1024;
const sizeBytes = 256 * mebibyte;
/** Well under the file, well over what parts in flight need. */
const allowedGrowthBytes = 128 * mebibyte;

let stack: StackProcess;
let client: PipelineClient;
let origin: RangeOrigin;

beforeAll(async () => {
  stack = await StackProcess.start({ flags: ["--no-runner", "--no-agent"] });
  client = await stack.client();
  origin = await RangeOrigin.start(sizeBytes);
});

afterAll(async () => {
  origin?.close();
  await stack?.destroy();
});

/** The most memory that the worker's workerd has had resident so far. */
async function peakBytes(): Promise<number> {
  const { processes } = await stack.child("worker");
  const workerd = processes.find(({ command }) => basename(command[0] ?? "") === "workerd");
  if (workerd === undefined) throw new Error("the worker has no workerd");
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${workerd.pid}/status`, "utf8"))?.[1];
  return Number(peak) * 1024;
}

test("an original larger than a worker's memory is brought in without being held", async () => {
  const before = await peakBytes();
  const named = { fileId: newFileId(), clientName: "acme", projectName: "launch-film", fileName: "large.mov" };
  const upload: Upload = { ...named, sizeBytes, source: { kind: "url", url: origin.url } };
  expect((await client.sendWebhook(upload)).status).toBe(202);
  const asset = await client.followTo(upload.fileId, "archived", 240_000);
  expect(asset.original?.sizeBytes).toBe(sizeBytes);
  expect((await client.headWasabi(originalKeyOf(named)))?.sizeBytes).toBe(sizeBytes);
  expect((await peakBytes()) - before).toBeLessThan(allowedGrowthBytes);
});
