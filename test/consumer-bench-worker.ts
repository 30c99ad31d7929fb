/** A consumer's workplace for tests: a real S3 and a real R2; only the object's answers are scripted. */
import { env as bindings } from "cloudflare:workers";
import type { PartDigest } from "../schemas/checksum.ts";
import type { AssetEvent } from "../schemas/event.ts";
import { proxyKey } from "../schemas/key.ts";
import type { TransferPlan, TransferStage } from "../schemas/transfer.ts";
import type { StepCommand } from "../workers/consumers/step-of.ts";
import { runStep } from "../workers/consumers/step-work.ts";
import { type Facts, tools, type Workbench } from "../workers/consumers/workbench.ts";
import { type Env, parseConfig } from "../workers/stores/config.ts";
import { abandonedUploads } from "../workers/stores/open-upload.ts";
import { compositeOf, hexOf, multipartEtag, partRanges } from "../workers/stores/part-digest.ts";
import { testBindings } from "./bindings.ts";
import { localWasabiConfig } from "./local-wasabi-worker.ts";
import { type Script, scriptedDoor } from "./scripted-door-worker.ts";

export const env = bindings as unknown as Env;
export const config = { ...parseConfig(testBindings), environment: "local", wasabi: localWasabiConfig() };
export const bench = tools(env, config);
export const { wasabi } = bench;
export const mib = 1024 ** 2;
export const partSizeBytes = 5 * mib;
export const jobId = "00112233445566778899aabb";
export const quality = "720p" as const;

let count = 0;
export const newFileId = () => `consumer-${Date.now()}-${++count}`;

export function content(sizeBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sizeBytes);
  for (let i = 0; i < sizeBytes; i++) bytes[i] = (i * 13 + (i >> 9)) & 255;
  return bytes;
}
export const hash = async (name: string, bytes: Uint8Array<ArrayBuffer>) =>
  hexOf(await crypto.subtle.digest(name, bytes));
export const bodyOf = (bytes: Uint8Array<ArrayBuffer>) => new Response(bytes).body as ReadableStream<Uint8Array>;

export async function run<C extends StepCommand>(
  command: C,
  work: (command: C, bench: Workbench) => Promise<Facts>,
  script: Script = {},
): Promise<{ facts: AssetEvent[]; calls: string[]; keys: (string | null)[] }> {
  const door = scriptedDoor(script);
  const delivery = { messageId: "m1", attempts: 1 };
  await runStep({ command, delivery, door, bench, work: (workbench) => work(command, workbench) });
  return { facts: door.told.map((each) => each.event), calls: door.calls, keys: door.told.map((each) => each.key) };
}

/** A copying command from its first message to its last, as the object sends them. */
export async function runStages<C extends Extract<StepCommand, { stage: TransferStage }>>(
  command: C,
  work: (command: C, bench: Workbench) => Promise<Facts>,
  script: Script = {},
  workbench = bench,
): Promise<{ facts: AssetEvent[]; calls: string[]; plan: TransferPlan | undefined }> {
  const door = scriptedDoor(script);
  const send = (stage: TransferStage) =>
    runStep({
      command: { ...command, stage },
      delivery: { messageId: "m1", attempts: 1 },
      door,
      bench: workbench,
      work: (given) => work({ ...command, stage }, given),
    });
  await send({ type: "open" });
  const [plan] = door.plans;
  if (plan !== undefined) {
    const { uploadId, partSizeBytes, pin, partsPerMessage } = plan;
    for (let first = 1; first <= plan.parts; first += partsPerMessage) {
      const count = Math.min(partsPerMessage, plan.parts - first + 1);
      const parts = Array.from({ length: count }, (_, index) => first + index);
      const last = door.told.findLast(({ event }) => event.type === "PartsMoved")?.event;
      const midstate = last?.type === "PartsMoved" ? last.midstate : plan.midstate;
      await send({ type: "parts", uploadId, partSizeBytes, pin, midstate, parts });
      if (door.told.at(-1)?.event.type !== "PartsMoved") break;
    }
    const whole = (await door.movedParts(uploadId)).length === plan.parts;
    if (whole) await send({ type: "complete", uploadId, partSizeBytes, pin, midstate: null });
  }
  return { facts: door.told.map(({ event }) => event), calls: door.calls, plan };
}

export const smallParts = {
  ...bench,
  config: { ...config, policy: { ...config.policy, transferPartBytes: partSizeBytes } },
};

export async function putOriginal(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return wasabi.put(key, bodyOf(bytes), { sizeBytes: bytes.length, contentType: "video/mp4" });
}

export interface Rendition {
  fileId: string;
  key: ReturnType<typeof proxyKey>;
  uploadId: string;
  bytes: Uint8Array<ArrayBuffer>;
  parts: PartDigest[];
  sha256: { partSizeBytes: number; parts: number; composite: string };
  etag: string;
}

/** As a runner leaves it: every part in Wasabi, nothing completed. */
export async function uploadedRendition(sizeBytes = partSizeBytes + 1_000): Promise<Rendition> {
  const fileId = newFileId();
  const key = proxyKey({ clientName: "acme", projectName: "film", fileId }, quality);
  const bytes = content(sizeBytes);
  const uploadId = await wasabi.createMultipart(key);
  const parts: PartDigest[] = [];
  for (const range of partRanges(sizeBytes, partSizeBytes)) {
    const slice = bytes.slice(range.from, range.from + range.sizeBytes);
    const part = { n: range.n, sizeBytes: range.sizeBytes };
    const etag = await wasabi.uploadPart(key, uploadId, { ...part, body: bodyOf(slice) });
    parts.push({ ...part, etag, md5: await hash("MD5", slice), sha256: await hash("SHA-256", slice) });
  }
  const composite = await compositeOf(parts.map((part) => part.sha256));
  const etag = await multipartEtag(parts.map((part) => part.md5));
  return { fileId, key, uploadId, bytes, parts, sha256: { partSizeBytes, parts: parts.length, composite }, etag };
}

export const notedUploads = async (key: string) =>
  (await abandonedUploads(env.CATALOGUE, "9999", 1_000)).filter((upload) => upload.key === key);
