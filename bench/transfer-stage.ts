/**
 * What the transfer bench measures on: a real stack without runner and agent, the bare worker beside it, and on demand a
 * limit per connection in front of Wasabi. All of it in one temporary folder, which is gone at the end.
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { choosePorts } from "../dev/port.ts";
import { objectUrl, s3Client } from "../dev/s3.ts";
import { type Stack, startStack } from "../dev/stack.ts";
import type { StackFile } from "../dev/stack-file.ts";
import { type ChildPlan, type SupervisedChild, superviseChild } from "../dev/supervisor.ts";
import { defaultLadder, type Quality } from "../schemas/ladder.ts";
import { type BareConfig, type BareCopy, BareResult } from "./bare-copy.ts";
import { type BulkStore, startBulkStore } from "./bulk-store.ts";
import { startThrottleProxy, type ThrottleProxy } from "./throttle-proxy.ts";

export const benchQuality: Quality = "540p";

/** One rendition, which goes to R2 by itself as soon as it is archived. */
const policy = {
  ladder: { ...defaultLadder, rungs: defaultLadder.rungs.filter(({ quality }) => quality === benchQuality) },
  placement: { edgeQualities: [benchQuality], lucidlink: false },
};

const copyTimeoutMs = 30 * 60_000;
const urlSeconds = 3 * 60 * 60;

export interface TransferStage {
  folder: string;
  stack: StackFile;
  bare: { origin: string; accessKeyId: string; secretAccessKey: string };
  /** Leaders of the process groups, for what they cost. */
  pids(): { worker: number; bare: number };
  /** @returns seconds */
  copyBare(key: string, shape: Omit<BareCopy, "url">): Promise<number>;
  limitWasabi(bytesPerSecond: number): Promise<void>;
  /** Originals of 100 GB that are not there, copied part by part. */
  standInForBulk(partMs: number): Promise<BulkStore>;
  close(): Promise<void>;
}

export async function openStage(signal: AbortSignal): Promise<TransferStage> {
  const folder = await mkdtemp(join(tmpdir(), "mmf-bench-"));
  const children: SupervisedChild[] = [];
  let stack: Stack | null = null;
  let proxy: ThrottleProxy | null = null;
  let bulk: BulkStore | null = null;
  const killNow = () => {
    for (const child of children) child.killNow();
    stack?.killNow();
    // A reader of the output that goes away ends this process without a word.
    rmSync(folder, { recursive: true, force: true });
  };
  process.on("exit", killNow);
  const close = async () => {
    await Promise.allSettled([proxy?.close(), bulk?.close(), stack?.stop(), ...children.map((child) => child.stop())]);
    process.off("exit", killNow);
    await rm(folder, { recursive: true, force: true });
  };
  const startChild = async (plan: ChildPlan) => {
    const child = superviseChild(plan, { restart: false, onEvent: () => undefined });
    children.push(child);
    await child.start();
    return child;
  };

  try {
    const options = {
      dataDirectory: join(folder, "data"),
      port: 0,
      runners: 0,
      agent: false,
      restart: false,
      faults: false,
    };
    const running = await startStack({ ...options, policy, signal });
    stack = running;
    const file = running.file();
    const { bare: barePort, wasabi: wasabiPort } = await choosePorts({ bare: null, wasabi: null });
    const keys = { accessKeyId: randomBytes(10).toString("hex"), secretAccessKey: randomBytes(32).toString("hex") };
    const bare = await startChild(barePlan(folder, { port: barePort, directory: join(folder, "bare"), ...keys }));
    const origin = `http://127.0.0.1:${barePort}`;
    return {
      folder,
      stack: file,
      bare: { origin, ...keys },
      pids: () => ({ worker: running.child("worker").pid() ?? 0, bare: bare.pid() ?? 0 }),
      copyBare: async (key, shape) => copyBare(origin, { url: await presigned(file, key), ...shape }, signal),
      async limitWasabi(bytesPerSecond) {
        const { port } = new URL(file.wasabi.endpoint);
        await running.child("wasabi").stop();
        // The same bucket behind another port; its old one is the limit's, so that nobody need know.
        await startChild(wasabiPlan(folder, file, wasabiPort));
        proxy = await startThrottleProxy({ port: Number(port), targetPort: wasabiPort, bytesPerSecond });
      },
      async standInForBulk(partMs) {
        const { port } = new URL(file.wasabi.endpoint);
        await running.child("wasabi").stop();
        await startChild(wasabiPlan(folder, file, wasabiPort));
        bulk = await startBulkStore({ port: Number(port), targetPort: wasabiPort, partMs });
        return bulk;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

function barePlan(folder: string, config: BareConfig): ChildPlan {
  return {
    name: "bare",
    entry: here("bare-process.ts"),
    config,
    logFile: join(folder, "bare.log"),
    isReady: async ({ messages }) => messages.includes("ready"),
    readyTimeoutMs: 30_000,
  };
}

function wasabiPlan(folder: string, { wasabi }: StackFile, port: number): ChildPlan {
  const { bucket, accessKeyId, secretAccessKey } = wasabi;
  return {
    name: "wasabi-behind-limit",
    entry: here("../dev/wasabi-process.ts"),
    config: { port, directory: join(folder, "data", "wasabi"), bucket, accessKeyId, secretAccessKey },
    logFile: join(folder, "wasabi-behind-limit.log"),
    isReady: async () => (await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(2_000) })).status > 0,
    readyTimeoutMs: 30_000,
  };
}

async function presigned({ wasabi }: StackFile, key: string): Promise<string> {
  const url = new URL(objectUrl(wasabi, key));
  url.searchParams.set("X-Amz-Expires", String(urlSeconds));
  return (await s3Client(wasabi).sign(url, { method: "GET", aws: { signQuery: true } })).url;
}

async function copyBare(origin: string, copy: BareCopy, signal: AbortSignal): Promise<number> {
  const response = await fetch(origin, {
    method: "POST",
    body: JSON.stringify(copy),
    signal: AbortSignal.any([signal, AbortSignal.timeout(copyTimeoutMs)]),
  });
  if (!response.ok) throw new Error(`the bare worker failed: ${(await response.text()).slice(0, 500)}`);
  const { sizeBytes, tookMs } = BareResult.parse(await response.json());
  if (sizeBytes !== copy.sizeBytes) throw new Error(`the bare worker copied ${sizeBytes} of ${copy.sizeBytes} bytes`);
  return tookMs / 1_000;
}

/** What was written before is on the disk: the next run does not pay for it. */
export function settleDisk(): Promise<void> {
  return new Promise((resolve) => execFile("sync", () => resolve()));
}
