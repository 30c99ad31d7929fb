/**
 * Acts as the render nodes of one original: each segment is read by its byte ranges alone, into a sparse file of its own,
 * and decoded there, all at once. To prove it, the whole file is read too and the same stretches of it are decoded.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import type { Binaries } from "../gpu-runner/media/binaries.ts";
import type { OriginalAccessGrant } from "../schemas/original-access.ts";
import { digestFrames, type FrameDigest } from "./frame-digest.ts";
import type { Segment } from "./render-plan.ts";
import { lengthOf, readSparse } from "./sparse-file.ts";

export type SegmentState = Segment & {
  wantedBytes: number;
  readBytes: number;
  expectedFrames: number;
  frames: number;
  stage: "reading" | "decoding" | "comparing" | "decoded" | "identical" | "different" | "failed";
  failure: string | null;
};

/** `whole`: the download that the comparison needs; null without one. */
export type RenderState = {
  fileName: string;
  sizeBytes: number;
  segments: SegmentState[];
  whole: { readBytes: number } | null;
};

export type RenderJob = { fileName: string; fps: number; grant: OriginalAccessGrant; verify: boolean };

export function newRenderState({ fileName, fps, grant, verify }: RenderJob): RenderState {
  const segments = grant.segments.map(({ startSeconds, endSeconds, ranges }) => ({
    startSeconds,
    endSeconds,
    wantedBytes: lengthOf(grant.header) + lengthOf(ranges),
    readBytes: 0,
    expectedFrames: Math.max(1, Math.round((endSeconds - startSeconds) * fps)),
    frames: 0,
    stage: "reading" as const,
    failure: null,
  }));
  return { fileName, sizeBytes: grant.sizeBytes, segments, whole: verify ? { readBytes: 0 } : null };
}

/** Whether all that was asked has been shown. */
export function isProven({ segments, whole }: RenderState): boolean {
  return segments.every(({ stage }) => stage === (whole === null ? "decoded" : "identical"));
}

/** Fills the state in, whatever happens; its folder is gone at the end. */
export async function renderSegments(
  binaries: Binaries,
  { fileName, grant }: RenderJob,
  state: RenderState,
  signal: AbortSignal,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "mmf-render-"));
  const extension = extname(fileName);
  try {
    const { whole } = state;
    const wholePath = join(folder, `whole${extension}`);
    const everything = [{ from: 0, to: grant.sizeBytes - 1 }];
    const onBytes = (count: number) => {
      if (whole !== null) whole.readBytes += count;
    };
    const reading = whole === null ? null : readSparse(grant, wholePath, everything, { onBytes, signal });
    // Told by every segment that needs it.
    reading?.catch(() => undefined);
    const node = async (segment: SegmentState, index: number) => {
      const ranges = [...grant.header, ...(grant.segments[index]?.ranges ?? [])];
      const path = join(folder, `segment-${index + 1}${extension}`);
      const found = await renderOne(binaries, { grant, path, ranges, segment, signal });
      await rm(path);
      segment.stage = "decoded";
      if (reading === null) return;
      segment.stage = "comparing";
      await reading;
      const expected = await digestFrames(binaries, wholePath, segment, { onFrame: () => undefined, signal });
      segment.stage = isSame(found, expected) ? "identical" : "different";
      if (segment.stage === "different") segment.failure = `the whole file has ${expected.frames} frames here`;
    };
    const failed = (segment: SegmentState) => (error: unknown) => {
      segment.stage = "failed";
      segment.failure = error instanceof Error ? error.message : String(error);
    };
    await Promise.all(state.segments.map((segment, index) => node(segment, index).catch(failed(segment))));
    await reading?.catch(() => undefined);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

type Node = {
  grant: OriginalAccessGrant;
  path: string;
  ranges: { from: number; to: number }[];
  segment: SegmentState;
  signal: AbortSignal;
};

async function renderOne(binaries: Binaries, { grant, path, ranges, segment, signal }: Node): Promise<FrameDigest> {
  const onBytes = (count: number) => {
    segment.readBytes += count;
  };
  await readSparse(grant, path, ranges, { onBytes, signal });
  segment.stage = "decoding";
  const onFrame = () => {
    segment.frames += 1;
  };
  return await digestFrames(binaries, path, segment, { onFrame, signal });
}

const isSame = (left: FrameDigest, right: FrameDigest) => left.frames === right.frames && left.sha256 === right.sha256;
