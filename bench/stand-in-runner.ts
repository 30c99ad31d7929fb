/**
 * Acts as a gpu-runner that encodes nothing: takes the job of an asset and delivers random bytes as its rendition, by the
 * runner's own protocol and with its own uploader, so that the pipeline does with it what it does with every other.
 */
import { randomBytes, randomUUID } from "node:crypto";
import pino from "pino";
import { uploadMultipart } from "../dev/s3.ts";
import { sendUploadWebhook } from "../dev/stack-client.ts";
import type { StackFile } from "../dev/stack-file.ts";
import { createJobApi, jobUrl } from "../gpu-runner/job/job-api.ts";
import { createJobSocket, type JobSocket } from "../gpu-runner/job/job-socket.ts";
import { jobTiming } from "../gpu-runner/job/job-timing.ts";
import { createPartUploader } from "../gpu-runner/job/part-upload.ts";
import { createPullQueue } from "../gpu-runner/job/pull-queue.ts";
import { originalKey } from "../schemas/key.ts";
import type { RenditionPlan } from "../schemas/ladder.ts";
import { longestPullWaitSeconds, type TranscodeMessage } from "../schemas/runner-protocol.ts";
import { lasting, pictureOf, sourceProbe } from "../schemas/source-probe-sample.ts";

const log = pino({ level: "silent" });
export const benchOwner = { clientName: "bench", projectName: "transfer" };
const owner = { ...benchOwner, fileName: "original.mov" };
const originalBytes = 1024 ** 2;

/** Made up: nothing in the pipeline but the runner reads the original. */
const source = sourceProbe({ ...lasting(60), ...pictureOf(960, 540), fps: { num: 24, den: 1 } });

export interface Rendition {
  sizeBytes: number;
  onProgress(uploadedBytes: number): void;
  /** Random ones without it. */
  bytes?(from: number, lengthBytes: number): Promise<Uint8Array>;
  /** Waited for when all is uploaded, before it is reported. */
  beforeReport(): Promise<void>;
  signal: AbortSignal;
}

/** @returns the new asset's id, once its only rendition is uploaded and reported */
export async function deliverRendition(stack: StackFile, rendition: Rendition): Promise<string> {
  const fileId = await announceOriginal(stack);
  await deliverJob(stack, await pullJob(stack, fileId, rendition.signal), rendition);
  return fileId;
}

interface JobDoor {
  api: string;
  tokens: { runner: string };
}

/** Claims a job and delivers its only rendition, uploaded and reported. */
export async function deliverJob(
  stack: JobDoor,
  message: Pick<TranscodeMessage, "fileId" | "jobId" | "generation">,
  rendition: Rendition,
): Promise<void> {
  const socket = createJobSocket({
    url: jobUrl(stack.api, message.jobId, message.fileId, ""),
    token: stack.tokens.runner,
    log,
    ...jobTiming.socket,
    random: Math.random,
    nowMs: () => performance.now(),
  });
  try {
    await runJob(stack, message, socket, rendition);
  } finally {
    socket.close();
  }
}

export async function announceOriginal(stack: StackFile): Promise<string> {
  const fileId = randomBytes(12).toString("hex");
  const key = originalKey({ ...owner, fileId });
  const bytes = async function* () {
    yield randomBytes(originalBytes);
  };
  await uploadMultipart(stack.wasabi, key, bytes(), { sizeBytes: originalBytes });
  const data = { ...owner, fileId, sizeBytes: originalBytes, source: { kind: "wasabi" as const, key } };
  const webhook = { type: "upload.completed" as const, timestamp: new Date().toISOString(), data };
  await sendUploadWebhook(stack, webhook, `msg_${randomUUID()}`);
  return fileId;
}

/** A job is announced again while nobody has claimed it: messages of earlier ones are passed over. */
async function pullJob(stack: StackFile, fileId: string, signal: AbortSignal): Promise<TranscodeMessage> {
  const queue = createPullQueue({
    apiUrl: stack.api,
    token: stack.tokens.runner,
    waitSeconds: longestPullWaitSeconds,
    rushOnly: false,
    timeoutMs: 15_000,
    backoff: { baseMs: 500, maxMs: 5_000 },
    random: Math.random,
  });
  for (;;) {
    const pulled = await queue.pull(signal);
    if (pulled === null) continue;
    await queue.ack(pulled, signal);
    if (pulled.message.fileId === fileId) return pulled.message;
  }
}

async function runJob(
  stack: JobDoor,
  message: Pick<TranscodeMessage, "fileId" | "jobId" | "generation">,
  socket: JobSocket,
  rendition: Rendition,
) {
  const { generation, jobId, fileId } = message;
  const capabilities = { ffmpegVersion: "none", encoderReason: "random bytes" };
  const claim = { generation, runnerId: "bench", encoder: "none", capabilities };
  const grant = await socket.claim(claim, rendition.signal);
  if (grant.type === "refused") throw new Error(`the job was refused: ${grant.reason}`);
  const plan = await askPlan(socket);

  const signal = AbortSignal.any([socket.lost, rendition.signal]);
  const api = createJobApi({
    apiUrl: stack.api,
    token: stack.tokens.runner,
    fileId,
    jobId,
    ...jobTiming.api,
    random: Math.random,
  });
  const uploader = createPartUploader({
    grant: (quality, partSizeBytes, numbers) =>
      api.parts({ lease: grant.lease, quality, partSizeBytes, numbers }, signal),
    signal,
    ...jobTiming.parts,
    random: Math.random,
    nowMs: Date.now,
  });
  const { quality, partSizeBytes, width, height, expectedFrames, expectedDurationSeconds } = plan;
  const upload = uploader.open(quality, partSizeBytes);
  let count = 0;
  for (let sentBytes = 0; sentBytes < rendition.sizeBytes; sentBytes += partSizeBytes) {
    const lengthBytes = Math.min(partSizeBytes, rendition.sizeBytes - sentBytes);
    const bytes = await (rendition.bytes?.(sentBytes, lengthBytes) ?? randomBytes(lengthBytes));
    await upload.part(++count, bytes);
    rendition.onProgress(uploader.uploadedBytes(quality));
  }
  const { parts, composite } = await upload.finish(count);
  await rendition.beforeReport();
  const measured = { width, height, frames: expectedFrames, durationSeconds: expectedDurationSeconds };
  const told = { quality, ...measured, sizeBytes: rendition.sizeBytes, partSizeBytes, composite, parts };
  await socket.request({ type: "uploaded", ...told });
}

async function askPlan(socket: JobSocket): Promise<RenditionPlan> {
  const answer = await socket.request({ type: "probed", source });
  const [plan, ...more] = answer.type === "ladder" ? answer.renditions : [];
  if (plan === undefined || more.length > 0) throw new Error("the bench's policy makes exactly one rendition");
  return plan;
}
