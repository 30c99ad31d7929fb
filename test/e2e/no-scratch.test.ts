/** While a film is encoded no media touches a disk: no file is open for writing, nothing grows where temporary files go. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type OpenFile, openFiles, programOf, sharedMappings } from "../../dev/process-table.ts";
import { ClipFolder } from "./media-clip.ts";
import type { PipelineClient } from "./pipeline-client.ts";
import { expectRest } from "./resting-stack.ts";
import { StackProcess } from "./stack-process.ts";

const encodeTimeoutMs = 200_000;
/** Far below any rendition of the clip. */
const maxGrowthBytes = 64 * 1024;

let stack: StackProcess;
let clips: ClipFolder;
let client: PipelineClient;

beforeAll(async () => {
  [clips, stack] = await Promise.all([ClipFolder.make(), StackProcess.start()]);
  client = await stack.client();
});

afterAll(async () => {
  await stack?.destroy();
  await clips?.remove();
});

function bytesUnder(folder: string): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    try {
      bytes += statSync(join(entry.parentPath, entry.name)).size;
    } catch {
      // Gone meanwhile.
    }
  }
  return bytes;
}

const describe = ({ pid, path }: OpenFile) => `${pid} ${path}`;
/** The supervisor hands the runner its log as standard output. */
const isLog = ({ path }: OpenFile) => path === join(stack.dataDirectory, "logs", "gpu-runner.log");

test("an encode writes to sockets only", async () => {
  const film = await clips.clip({ width: 1920, height: 1080, seconds: 3 });
  const before = bytesUnder(stack.temporaryDirectory);
  const { fileId } = await client.ingest(film);
  let over = false;
  const outcome = client.followTo(fileId, "distributed", encodeTimeoutMs).finally(() => {
    over = true;
  });
  outcome.catch(() => undefined);

  const written = new Set<string>();
  const shared = new Set<string>();
  const programs = new Set<string>();
  let largestGrowth = 0;
  let samples = 0;
  while (!over) {
    const { processes } = await stack.child("gpu-runner");
    const encoding = processes.some((entry) => programOf(entry) === "ffmpeg");
    if (encoding) samples++;
    for (const entry of processes) {
      programs.add(programOf(entry));
      for (const file of openFiles(entry.pid)) if (file.writable && !isLog(file)) written.add(describe(file));
      for (const path of sharedMappings(entry.pid)) shared.add(path);
    }
    largestGrowth = Math.max(largestGrowth, bytesUnder(stack.temporaryDirectory) - before);
    await sleep(50);
  }
  const asset = await outcome;

  expect(samples, "looks while ffmpeg ran").toBeGreaterThan(5);
  expect([...programs]).toContain("ffmpeg");
  expect([...written]).toEqual([]);
  expect([...shared].filter((path) => /^\/(dev\/shm|tmp|var\/tmp)\//.test(path))).toEqual([]);
  expect(largestGrowth).toBeLessThan(maxGrowthBytes);
  expect(Buffer.byteLength(stack.log("gpu-runner")), "the log").toBeLessThan(maxGrowthBytes);
  const madeBytes = asset.renditions.reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? 0), 0);
  expect(madeBytes, "what a scratch file would have held").toBeGreaterThan(4 * maxGrowthBytes);
  await expectRest(stack, client, [fileId]);
});
