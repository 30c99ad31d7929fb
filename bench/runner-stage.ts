/**
 * What the runner bench measures on: a real stack with one runner on libx264 and nothing to place afterwards, a clip, and
 * the bare ffmpeg beside it. All of it in one temporary folder, which is gone at the end.
 */
import { execFile, spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createReadStream, rmSync } from "node:fs";
import { mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { makeClip } from "../dev/ffmpeg-tool.ts";
import { uploadMultipart } from "../dev/s3.ts";
import { startStack } from "../dev/stack.ts";
import { readAsset, readHistory, sendUploadWebhook } from "../dev/stack-client.ts";
import type { StackFile } from "../dev/stack-file.ts";
import { type Binaries, findBinaries } from "../gpu-runner/media/binaries.ts";
import { buildEncodeCommand, type EncodeCommand, toArguments } from "../gpu-runner/media/encode-command.ts";
import { originalKey } from "../schemas/key.ts";
import { defaultLadder } from "../schemas/ladder.ts";
import { readProbe } from "../schemas/media-probe.ts";
import { planLadder } from "../schemas/plan-ladder.ts";
import { treeCpuSecondsOf } from "./process-cost.ts";

const owner = { clientName: "bench", projectName: "runner", fileName: "original.mp4" };
/** With grain a second of the clip has some megabytes, as originals have: reading it is work, too. */
const clipShape = { width: 1920, height: 1080, grain: 8 };
/** Seldom: asking costs the machine that is being measured. */
const askEveryMs = 2_000;
const jobTimeoutMs = 60 * 60_000;

export type RunCost = {
  wallSeconds: number;
  cpuSeconds: number;
  /** Of it, the Node process's own; the rest is ffmpeg's and ffprobe's. */
  ownCpuSeconds: number;
};

export interface RunnerStage {
  /** One job by the real runner, from the claim to the last uploaded rendition. */
  runJob(): Promise<RunCost>;
  /** The same encode by ffmpeg alone, from a local file into local files. */
  runBare(): Promise<RunCost>;
  close(): Promise<void>;
}

export async function openRunnerStage(seconds: number, signal: AbortSignal): Promise<RunnerStage> {
  const folder = await mkdtemp(join(tmpdir(), "mmf-bench-"));
  const clip = join(folder, "original.mp4");
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.on("exit", remove);
  // The stack's runner inherits it: a card would leave nothing to compare.
  process.env.FFMPEG_ENCODER = "x264";
  try {
    const binaries = await findBinaries(process.env);
    await makeClip(binaries, clip, { ...clipShape, seconds });
    const bare = await bareCommand(binaries, clip, join(folder, "bare"));
    const stack = await startStack({
      ...{ dataDirectory: join(folder, "data"), port: 0, runners: 1, agent: false, restart: false, faults: false },
      policy: { placement: { edgeQualities: [], lucidlink: false } },
      signal,
    });
    const killNow = () => stack.killNow();
    process.prependListener("exit", killNow);
    return {
      runJob: () => runJob(stack.file(), clip, () => stack.child("gpu-runner").pid() ?? 0, signal),
      runBare: () => runBare(binaries, bare, join(folder, "bare"), signal),
      async close() {
        await stack.stop();
        process.off("exit", killNow);
        process.off("exit", remove);
        await rm(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    process.off("exit", remove);
    remove();
    throw error;
  }
}

async function runJob(stack: StackFile, clip: string, runnerPid: () => number, signal: AbortSignal): Promise<RunCost> {
  const fileId = randomBytes(12).toString("hex");
  const key = originalKey({ ...owner, fileId });
  const { size: sizeBytes } = await stat(clip);
  await uploadMultipart(stack.wasabi, key, createReadStream(clip), { sizeBytes });
  const data = { ...owner, fileId, sizeBytes, source: { kind: "wasabi" as const, key } };
  const before = cpuOf(runnerPid());
  let after: typeof before | null = null;
  const webhook = { type: "upload.completed" as const, timestamp: new Date().toISOString(), data };
  await sendUploadWebhook(stack, webhook, `msg_${randomUUID()}`);
  const deadlineMs = performance.now() + jobTimeoutMs;
  for (;;) {
    await sleep(askEveryMs, undefined, { signal });
    const { state, problem, renditions } = await readAsset(stack, fileId);
    const sent = renditions.every(({ status }) => status === "uploaded" || status === "archived");
    // From here on it only waits for the next job.
    if (renditions.length > 0 && sent) after ??= cpuOf(runnerPid());
    if (state === "failed") throw new Error(`the job failed: ${problem?.code} ${problem?.message}`);
    // Archived as well: what follows the runner's work must not go on beside the next run.
    if (state === "distributed" || state === "evicted") break;
    if (performance.now() > deadlineMs) throw new Error("the job was not done in time");
  }
  after ??= cpuOf(runnerPid());
  const history = await readHistory(stack, fileId);
  const timesOf = (event: string) => history.filter((entry) => entry.event === event).map(({ at }) => Date.parse(at));
  if (timesOf("TranscodeClaimed").length !== 1) throw new Error("the job was not done at the first attempt");
  const wallMs = Math.max(...timesOf("RenditionUploaded")) - Math.min(...timesOf("TranscodeClaimed"));
  const ownCpuSeconds = after.own - before.own;
  return { wallSeconds: wallMs / 1_000, cpuSeconds: ownCpuSeconds + after.ended - before.ended, ownCpuSeconds };
}

/** The runner's own command, but for where it reads and writes. */
async function bareCommand(binaries: Binaries, clip: string, folder: string): Promise<EncodeCommand> {
  const look = ["-v", "error", "-of", "json", "-show_format", "-show_streams", clip];
  const { stdout } = await promisify(execFile)(binaries.ffprobePath, look);
  const reading = readProbe(JSON.parse(stdout));
  if (!reading.ok) throw new Error(reading.message);
  const { source } = reading;
  const plans = planLadder(source, defaultLadder);
  const targets = plans.map(({ quality }) => join(folder, `${quality}.mp4`));
  const { dialect } = binaries;
  const command = buildEncodeCommand({ source, plans, encoder: "x264", dialect, input: clip, targets });
  return { ...command, inputOptions: command.inputOptions.map((option) => (option === "http,tcp" ? "file" : option)) };
}

async function runBare(
  binaries: Binaries,
  command: EncodeCommand,
  folder: string,
  signal: AbortSignal,
): Promise<RunCost> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  const before = cpuOf(process.pid).ended;
  const fromMs = performance.now();
  const child = spawn(binaries.ffmpegPath, toArguments(command), { stdio: "ignore", signal });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`the bare ffmpeg ended with ${code}`);
  const wallSeconds = (performance.now() - fromMs) / 1_000;
  return { wallSeconds, cpuSeconds: cpuOf(process.pid).ended - before, ownCpuSeconds: 0 };
}

function cpuOf(pid: number): { own: number; ended: number } {
  const cost = treeCpuSecondsOf(pid);
  if (cost === null) throw new Error("this bench needs /proc to tell what the runner costs");
  return cost;
}
