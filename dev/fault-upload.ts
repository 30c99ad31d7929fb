/** Brings a run's file in by the way that its plan names, spoiled as the plan has it, and announces it. */
import { randomBytes, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Binaries } from "../gpu-runner/media/binaries.ts";
import type { UploadWebhook } from "../schemas/api.ts";
import { originalKey } from "../schemas/key.ts";
import { type FaultLink, openFaultLink } from "./fault-link.ts";
import type { RunPlan } from "./fault-plan.ts";
import { sha256OfFile } from "./fault-proof.ts";
import { makeClip } from "./ffmpeg-tool.ts";
import { openOrigin } from "./origin-server.ts";
import { uploadMultipart } from "./s3.ts";
import { sendUploadWebhook } from "./stack-client.ts";
import type { StackFile } from "./stack-file.ts";

export type Clip = { path: string; sizeBytes: number; sha256: string; frames: number };
export type Clips = Record<RunPlan["clip"] | "text", Clip>;

const framesPerSecond = 25;

export async function makeClips(binaries: Binaries, folder: string): Promise<Clips> {
  const facts = async (path: string, seconds: number): Promise<Clip> => ({
    path,
    sizeBytes: (await stat(path)).size,
    sha256: await sha256OfFile(path),
    frames: seconds * framesPerSecond,
  });
  const [small, parts, text] = ["small.mov", "parts.mov", "notes.mov"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  await makeClip(binaries, small, { width: 640, height: 360, seconds: 2 });
  // Grain makes renditions of several parts.
  await makeClip(binaries, parts, { width: 960, height: 540, seconds: 1, grain: 40 });
  await writeFile(text, "These are meeting notes, not a film.\n".repeat(500));
  return { small: await facts(small, 2), parts: await facts(parts, 1), text: await facts(text, 0) };
}

export type PreparedUpload = {
  fileId: string;
  clip: Clip;
  /** What lies in Wasabi because it was uploaded there, whatever becomes of it. */
  uploadedKeys: string[];
  origin: FaultLink | null;
  /** Sends the webhook. */
  announce(): Promise<void>;
  close(): Promise<void>;
};

export async function prepareUpload(plan: RunPlan, stack: StackFile, clips: Clips): Promise<PreparedUpload> {
  const clip = plan.doom === "INVALID_MEDIA" ? clips.text : clips[plan.clip];
  const fileId = randomBytes(12).toString("hex");
  const named = { fileId, clientName: "acme", projectName: "launch-film", fileName: "A001.mov" };
  const ownKey = originalKey(named);
  const data = { ...named, sizeBytes: plan.doom === "SIZE_MISMATCH" ? clip.sizeBytes + 1 : clip.sizeBytes };
  const announce = (source: UploadWebhook["data"]["source"], sha256?: string) => async () => {
    const webhook: UploadWebhook = {
      type: "upload.completed",
      timestamp: new Date().toISOString(),
      data: { ...data, source, ...(sha256 === undefined ? {} : { sha256 }) },
    };
    await sendUploadWebhook(stack, webhook, `msg_${randomUUID()}`);
  };

  if (plan.source === "url") {
    const server = await openOrigin(plan.doom === "SOURCE_REFUSED" ? null : clip.path);
    const origin = await openFaultLink({ name: "worker-origin", port: 0, targetPort: server.port });
    const sha256 = plan.doom === "CHECKSUM_MISMATCH" ? "0".repeat(64) : clip.sha256;
    return {
      fileId,
      clip,
      uploadedKeys: [],
      origin,
      announce: announce({ kind: "url", url: `http://127.0.0.1:${origin.port}/A001.mov` }, sha256),
      async close() {
        await origin.close();
        await server.close();
      },
    };
  }
  const key = plan.source === "elsewhere" ? `incoming/card 7/${fileId} + B.mov` : ownKey;
  const isThere = plan.doom !== "ORIGINAL_MISSING";
  if (isThere) await uploadMultipart(stack.wasabi, key, createReadStream(clip.path), { sizeBytes: clip.sizeBytes });
  return {
    fileId,
    clip,
    uploadedKeys: isThere ? [key] : [],
    origin: null,
    announce: announce({ kind: "wasabi", key }),
    close: async () => undefined,
  };
}
