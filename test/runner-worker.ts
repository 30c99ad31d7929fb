/** A runner without ffmpeg: claims a pipeline's job over its socket and uploads made-up renditions, as the protocol has it. */
import type { PartDigest } from "../schemas/checksum.ts";
import type { FailureCode } from "../schemas/failure.ts";
import type { Quality, RenditionPlan } from "../schemas/ladder.ts";
import { ObjectFrame, type RunnerFrame } from "../schemas/runner-protocol.ts";
import { compositeOf, hexOf, partRanges } from "../workers/stores/part-digest.ts";
import { bodyOf, content, type Pipeline, wasabi } from "./pipeline-worker.ts";
import { probe } from "./simulation/asset-sample.ts";

const partSizeBytes = 5 * 1024 ** 2;
const hash = async (name: string, bytes: Uint8Array<ArrayBuffer>) => hexOf(await crypto.subtle.digest(name, bytes));

type Encoded = Pick<Pipeline, "door" | "stub" | "asset">;
type Question = RunnerFrame extends infer Frame ? (Frame extends { seq: number } ? Omit<Frame, "seq"> : never) : never;

async function connect(pipeline: Encoded, jobId: string) {
  const address = `https://object/runner/${jobId}`;
  const { webSocket } = await pipeline.stub.fetch(address, { headers: { Upgrade: "websocket" } });
  if (webSocket === null) throw new Error("the object took no socket");
  const answers: ObjectFrame[] = [];
  webSocket.addEventListener("message", ({ data }) => {
    answers.push(ObjectFrame.parse(JSON.parse(String(data))));
  });
  webSocket.accept();
  let seq = 0;
  const ask = async (question: Question): Promise<ObjectFrame> => {
    seq += 1;
    webSocket.send(JSON.stringify({ ...question, seq }));
    for (let wait = 0; wait < 500; wait += 1) {
      const answer = answers.find((frame) => "seq" in frame && frame.seq === seq);
      if (answer?.type === "refused") throw new Error(`${question.type}: ${answer.message}`);
      if (answer !== undefined) return answer;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`${question.type}: no answer`);
  };
  return { ask, heard: answers as readonly ObjectFrame[], close: () => webSocket.close() };
}

async function claim(pipeline: Encoded, runnerId: string) {
  const { jobId, generation } = await pipeline.asset();
  if (jobId === null) throw new Error("no job is offered");
  const { ask, heard, close } = await connect(pipeline, jobId);
  const capabilities = { ffmpegVersion: "7", encoderReason: "" };
  const granted = await ask({ type: "claim", generation, runnerId, encoder: "libx264", capabilities });
  if (granted.type !== "granted") throw new Error("the claim was not granted");
  return { ask, heard, close, jobId, lease: granted.lease, archived: granted.archived };
}

/** Claims the job that is offered, and tells that it failed. */
export async function failEncode(pipeline: Pipeline, runnerId: string, code: FailureCode): Promise<void> {
  const { ask, close, lease } = await claim(pipeline, runnerId);
  await ask({ type: "failed", lease, code, message: `${runnerId} has trouble`, retryable: true });
  close();
}

/** Claims the job that is offered, opens an upload, and is never heard of again. */
export async function vanish(pipeline: Pipeline, runnerId: string): Promise<void> {
  const job = await claim(pipeline, runnerId);
  await job.ask({ type: "probed", lease: job.lease, source: probe(360) });
  await openUpload(pipeline, job, "360p");
  job.close();
}

/**
 * Encodes whatever is lacking of a source of this height. What it uploads still has to be completed by a consumer.
 * @param rounds of different bytes: an encode is never quite the same twice
 */
export async function encode(pipeline: Encoded, { height = 360, sizeBytes = 1_000, round = 1 } = {}): Promise<void> {
  const job = await claim(pipeline, "runner-1");
  for (const [index, plan] of (await planned(job, height)).entries()) {
    await upload(pipeline, job, plan, content(sizeBytes + index, round * 10 + index));
  }
  job.close();
}

/** Claims the job, uploads some of its renditions, and has a part of every other one in Wasabi when this resolves. */
export async function encodeInPart(pipeline: Encoded, whole: readonly Quality[], height: number) {
  const job = await claim(pipeline, "runner-1");
  for (const plan of await planned(job, height)) {
    if (whole.includes(plan.quality)) {
      await upload(pipeline, job, plan, content(1_000));
    } else {
      const { key, uploadId } = await openUpload(pipeline, job, plan.quality);
      await wasabi.uploadPart(key, uploadId, { n: 1, sizeBytes: 1_000, body: bodyOf(content(1_000)) });
    }
  }
  return job;
}

type Claimed = Awaited<ReturnType<typeof claim>>;

async function planned({ ask, lease }: Claimed, height: number): Promise<RenditionPlan[]> {
  const answer = await ask({ type: "probed", lease, source: probe(height) });
  if (answer.type !== "ladder") throw new Error("no ladder was planned");
  return answer.renditions;
}

async function openUpload({ door }: Encoded, { jobId, lease }: Claimed, quality: Quality) {
  const { key } = await opened(door.openPart(jobId, lease, quality));
  const uploadId = await wasabi.createMultipart(key);
  await opened(door.recordUpload(jobId, lease, quality, { uploadId, partSizeBytes }));
  return { key, uploadId };
}

async function upload(
  pipeline: Encoded,
  job: Claimed,
  { quality, width, height }: RenditionPlan,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  const { key, uploadId } = await openUpload(pipeline, job, quality);
  const parts: PartDigest[] = [];
  for (const { n, from, sizeBytes: length } of partRanges(bytes.length, partSizeBytes)) {
    const part = bytes.slice(from, from + length);
    const etag = await wasabi.uploadPart(key, uploadId, { n, sizeBytes: length, body: bodyOf(part) });
    parts.push({ n, sizeBytes: length, etag, md5: await hash("MD5", part), sha256: await hash("SHA-256", part) });
  }
  const composite = await compositeOf(parts.map(({ sha256 }) => sha256));
  const made = { width, height, frames: 500, durationSeconds: 20, sizeBytes: bytes.length };
  await job.ask({ type: "uploaded", lease: job.lease, quality, ...made, partSizeBytes, composite, parts });
}

async function opened<Answer extends { ok: boolean }>(asked: Promise<Answer>): Promise<Answer & { ok: true }> {
  const answer = await asked;
  if (!answer.ok) throw new Error(`refused: ${JSON.stringify(answer)}`);
  return answer as Answer & { ok: true };
}
