/**
 * An original of many parts comes in from a URL: through kill -9 of the worker in the middle of it, without moving again
 * what had arrived; and with the digest of the whole file carried from message to message.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { archiveKeys, openArchiveUploads } from "../../dev/archive-state.ts";
import { eventually } from "../../dev/eventually.ts";
import { leftovers, nothing } from "../../dev/persisted-state.ts";
import { isRunning } from "../../dev/process-table.ts";
import { newFileId, originalKeyOf, type PipelineClient } from "./pipeline-client.ts";
import { RangeOrigin } from "./range-origin.ts";
import { StackProcess } from "./stack-process.ts";

const mebibyte = 1024 * 1024;
const sizeBytes = 60 * mebibyte + 12_345;
const transferPartBytes = 5 * mebibyte;
/** Long, as the machine may be busy; what is awaited takes seconds. */
const arrivalTimeoutMs = 180_000;

let stack: StackProcess;
let client: PipelineClient;
let origin: RangeOrigin;

beforeAll(async () => {
  origin = await RangeOrigin.start(sizeBytes, 150);
  stack = await StackProcess.start({ policy: { transferPartBytes }, flags: ["--no-runner", "--no-agent"] });
  client = await stack.client();
});

afterEach(async () => {
  await eventually({ what: "the end of every upload", timeoutMs: 60_000 }, async () => {
    const { openEdgeUploads } = leftovers(stack.dataDirectory);
    return openEdgeUploads.length + (await openArchiveUploads(stack.dataDirectory)).length === 0;
  });
  expect(leftovers(stack.dataDirectory).outbox).toEqual(nothing.outbox);
});

afterAll(async () => {
  origin?.close();
  await stack?.destroy();
});

async function announce(over: { sha256?: string } = {}) {
  const named = { fileId: newFileId(), clientName: "acme", projectName: "launch-film", fileName: "large.mov" };
  const upload = { ...named, sizeBytes, source: { kind: "url", url: origin.url }, ...over };
  expect((await client.sendWebhook(upload)).status).toBe(202);
  return named;
}

const partsMoved = async (fileId: string) =>
  (await client.history(fileId))
    .filter(({ event }) => event === "PartsMoved")
    .flatMap(({ detail }) => detail.parts as number[]);

test("the worker killed in the middle: what had arrived is not moved again", async () => {
  const named = await announce();
  const { fileId } = named;
  await eventually({ what: "the first parts", timeoutMs: arrivalTimeoutMs, everyMs: 50 }, async () => {
    return (await partsMoved(fileId)).length > 0;
  });
  const worker = await stack.signalChild("worker", "SIGKILL", "group");
  await eventually({ what: "the end of the worker", timeoutMs: 15_000, everyMs: 20 }, () => !isRunning(worker));

  const asset = await client.followTo(fileId, "archived", arrivalTimeoutMs);
  expect(asset.original).toMatchObject({ sizeBytes });
  const parts = Math.ceil(sizeBytes / transferPartBytes);
  expect((await partsMoved(fileId)).sort((a, b) => a - b)).toEqual(Array.from({ length: parts }, (_, i) => i + 1));
  // Beyond the file itself, only what one message had under way.
  expect(origin.servedBytes).toBeLessThan(sizeBytes + 8 * transferPartBytes);
  const stored = await client.getWasabi(originalKeyOf(named));
  expect(stored.length).toBe(sizeBytes);
});

test("an announced digest of the whole file is compared, however many messages it takes", async () => {
  const { fileId } = await announce({ sha256: origin.sha256() });
  expect((await client.followTo(fileId, "archived", arrivalTimeoutMs)).original).toMatchObject({ sizeBytes });

  const wrong = await announce({ sha256: "0".repeat(64) });
  const { problem } = await client.followTo(wrong.fileId, "failed", arrivalTimeoutMs);
  expect(problem).toMatchObject({ step: "archive", code: "CHECKSUM_MISMATCH" });
  expect(await archiveKeys(stack.dataDirectory)).not.toContain(originalKeyOf(wrong));
});
