/** Sends one file through a running stack and proves what comes out: every proxy read back, decoded and counted. */
import { randomBytes, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Binaries } from "../gpu-runner/media/binaries.ts";
import type { Asset } from "../schemas/asset.ts";
import { failureFacts } from "../schemas/failure.ts";
import { FileName } from "../schemas/id.ts";
import { originalKey } from "../schemas/key.ts";
import { defaultLadder } from "../schemas/ladder.ts";
import { type FileState, isSettled, newFileState, onFrame } from "./demo-state.ts";
import { countFramesOfFile, countFramesOfStream, keepsEveryFrame } from "./ffmpeg-tool.ts";
import { uploadMultipart } from "./s3.ts";
import { followStatus, requestPlayback, sendUploadWebhook } from "./stack-client.ts";
import type { StackFile } from "./stack-file.ts";

export type DemoJob = { path: string; clientName: string; projectName: string };

/** What was read back of one rendition. */
export type PlaybackProof = {
  quality: string;
  url: string;
  servedFrom: string;
  sizeBytes: number;
  frames: number;
  /** A source of varying or reduced rate has another count: there the rendition's own record is what must hold. */
  equalTo: "source" | "record";
};

export type DemoFile = {
  readonly state: FileState;
  readonly proofs: readonly PlaybackProof[];
  /** Resolves however it ends; `state.failure` tells. */
  run(): Promise<void>;
};

/** An encode reports several times a second: this long without a word, something is down. */
const silenceMs = 5 * 60_000;
const readTimeoutMs = 30 * 60_000;

/** A Mongo ObjectId: four bytes of time, eight of chance. */
function newFileId(now: Date): string {
  return (
    Math.floor(now.getTime() / 1_000)
      .toString(16)
      .padStart(8, "0") + randomBytes(8).toString("hex")
  );
}

export async function prepareFile(stack: StackFile, binaries: Binaries, job: DemoJob): Promise<DemoFile> {
  const fileName = FileName.parse(basename(job.path));
  const { size: sizeBytes } = await stat(job.path);
  const fileId = newFileId(new Date());
  const now = () => performance.now();
  let state = newFileState({ fileId, fileName, sizeBytes }, now());
  const proofs: PlaybackProof[] = [];
  const end = (phase: "upload" | "read back") => {
    state = { ...state, endedAtMs: { ...state.endedAtMs, [phase]: now() } };
  };

  async function upload(): Promise<void> {
    const key = originalKey({ clientName: job.clientName, projectName: job.projectName, fileId, fileName });
    await uploadMultipart(stack.wasabi, key, createReadStream(job.path), {
      sizeBytes,
      onProgress: (sentBytes) => {
        state = { ...state, sentBytes };
      },
    });
    end("upload");
    await sendUploadWebhook(
      stack,
      {
        type: "upload.completed",
        timestamp: new Date().toISOString(),
        data: {
          fileId,
          clientName: job.clientName,
          projectName: job.projectName,
          fileName,
          sizeBytes,
          source: { kind: "wasabi", key },
        },
      },
      `msg_${randomUUID()}`,
    );
  }

  async function follow(): Promise<Asset> {
    await followStatus(stack, fileId, silenceMs, (frame) => {
      state = onFrame(state, frame, now());
      return state.asset !== null && isSettled(state.asset);
    });
    const { asset } = state;
    if (asset === null) throw new Error("the status socket ended without a snapshot");
    if (asset.state !== "distributed") {
      const { problem } = asset;
      if (problem === null) throw new Error(`the asset is ${asset.state}, not distributed`);
      throw new Error(`${problem.code}: ${problem.message} ${failureFacts[problem.code].advice}`);
    }
    return asset;
  }

  async function readBack(asset: Asset, expectedFrames: number | null): Promise<void> {
    state = { ...state, readBack: { done: 0, of: asset.renditions.length } };
    for (const rendition of asset.renditions) {
      const proof = await proveRendition(stack, binaries, asset, rendition, expectedFrames);
      proofs.push(proof);
      state = { ...state, readBack: { done: proofs.length, of: asset.renditions.length } };
    }
    await proveEditorCopies(stack, asset);
    end("read back");
  }

  return {
    get state() {
      return state;
    },
    proofs,
    async run() {
      state = { ...state, beganAtMs: now() };
      try {
        await upload();
        const asset = await follow();
        const oneForOne = await keepsEveryFrame(binaries, job.path, defaultLadder.maxFps);
        await readBack(asset, oneForOne ? await countFramesOfFile(binaries, job.path) : null);
      } catch (error) {
        state = { ...state, failure: error instanceof Error ? error.message : String(error) };
      }
    },
  };
}

type Rendition = Asset["renditions"][number];

/** Reads a proxy as a player would, through its signed URL, and decodes all of it. */
async function proveRendition(
  stack: StackFile,
  binaries: Binaries,
  asset: Asset,
  rendition: Rendition,
  sourceFrames: number | null,
): Promise<PlaybackProof> {
  const { quality } = rendition;
  const grant = await requestPlayback(stack, asset.fileId, quality);
  const response = await fetch(grant.url, { signal: AbortSignal.timeout(readTimeoutMs) });
  if (response.status !== 200 || response.body === null) {
    throw new Error(`${quality}: its delivery URL answered HTTP ${response.status}`);
  }
  let sizeBytes = 0;
  const counted = response.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        sizeBytes += chunk.length;
        controller.enqueue(chunk);
      },
    }),
  );
  const frames = await countFramesOfStream(binaries, counted);
  if (sizeBytes !== rendition.sizeBytes) {
    throw new Error(`${quality}: ${sizeBytes} bytes came back where ${rendition.sizeBytes} were archived`);
  }
  const expected = sourceFrames ?? rendition.frames;
  const equalTo = sourceFrames === null ? "record" : "source";
  if (frames !== expected) {
    throw new Error(`${quality}: ${frames} frames were decoded where the ${equalTo} has ${expected}`);
  }
  const servedFrom = response.headers.get("x-served-from") ?? "?";
  return { quality, url: grant.url, servedFrom, sizeBytes, frames, equalTo };
}

/** The editors' tree is a folder of this machine: what the asset says is placed must be a file of that size. */
async function proveEditorCopies(stack: StackFile, asset: Asset): Promise<void> {
  for (const rendition of asset.renditions) {
    for (const copy of rendition.copies) {
      if (copy.tier !== "lucidlink" || copy.status !== "placed") continue;
      const { size } = await stat(join(stack.lucidlink.root, copy.key)).catch(() => ({ size: -1 }));
      if (size !== rendition.sizeBytes) {
        throw new Error(
          `${rendition.quality}: the LucidLink copy ${copy.key} is ${size < 0 ? "missing" : `${size} bytes`}`,
        );
      }
    }
  }
}
