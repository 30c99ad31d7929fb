/**
 * Runs whole jobs for tests: an origin that serves a clip, a sink that keeps the parts, and a look at what came out.
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, vi } from "vitest";
import { defaultLadder, type LadderPolicy, type Quality } from "../../../schemas/ladder.ts";
import type { SourceProbe } from "../../../schemas/media-probe.ts";
import { planLadder } from "../../../schemas/plan-ladder.ts";
import { type Binaries, findBinaries } from "../binaries.ts";
import { type EncodeJobOptions, type EncodeOutcome, encodeJob } from "../encode-job.ts";
import type { EncodeProgress } from "../encode-progress.ts";
import { children, concat } from "../mp4/box.ts";
import { decodedFrames, makeTestFolder, probeJson } from "./ffmpeg-clip.ts";
import { type OriginFaults, startOrigin } from "./origin-server.ts";

export const SMALL_LADDER: LadderPolicy = {
  ...defaultLadder,
  rungs: defaultLadder.rungs.map((rung) => ({ ...rung, shortSidePx: rung.shortSidePx / 4 })),
};

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
export let binaries: Binaries;

/** Call once in a test file. Jobs get a temporary folder of their own, so that what they leave behind is seen. */
export function useJobBench(): void {
  // Real encodes, beside whatever else the machine is doing.
  vi.setConfig({ testTimeout: 180_000 });
  const outer = process.env.TMPDIR;
  beforeAll(async () => {
    folder = await makeTestFolder();
    process.env.TMPDIR = folder.path;
    binaries = await findBinaries(process.env);
  });
  afterAll(async () => {
    if (outer === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = outer;
    await folder.remove();
  });
}

export const clip = (name: string) => join(folder.path, name);
export const video = (size: string, seconds = 2, rate = "24") => [
  "-f",
  "lavfi",
  "-i",
  `testsrc2=s=${size}:r=${rate}:d=${seconds}`,
];
export const SOUND = ["-f", "lavfi", "-i", "sine=d=2:r=48000"];
export const FAST = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2"];

export type Made = {
  outcome: EncodeOutcome;
  source: SourceProbe | null;
  files: Map<Quality, string>;
  progress: EncodeProgress[];
  /** Part numbers as they were stored. */
  order: number[];
  attempts: number;
  requests: number;
  signatures: number;
  /** By the origin, of bodies. */
  sentBytes: number;
};

type Extra = Partial<
  Pick<
    EncodeJobOptions,
    | "skip"
    | "signal"
    | "encoder"
    | "probeEncoder"
    | "onCounts"
    | "onFewerOutputs"
    | "onRendition"
    | "onProgress"
    | "stallTimeoutMs"
    | "binaries"
    | "plan"
    | "sink"
  >
> & {
  faults?: OriginFaults;
  policy?: LadderPolicy;
};

export async function make(file: string, { faults, policy = defaultLadder, ...extra }: Extra = {}): Promise<Made> {
  const origin = await startOrigin(file, faults);
  const parts = new Map<Quality, Map<number, Uint8Array>>();
  const made: Omit<Made, "outcome" | "requests" | "signatures" | "sentBytes"> = {
    source: null,
    files: new Map(),
    progress: [],
    order: [],
    attempts: 0,
  };
  const outcome = await encodeJob({
    source: { url: origin.location },
    plan: async (source) => planLadder(source, policy),
    skip: [],
    sink: ({ quality }, attempt) => {
      const mine = new Map<number, Uint8Array>();
      parts.set(quality, mine);
      made.attempts = Math.max(made.attempts, attempt);
      return {
        part: async (n, bytes) => {
          mine.set(n, bytes);
          made.order.push(n);
        },
      };
    },
    encoder: { kind: "x264", dialect: binaries.dialect, reason: "test" },
    binaries,
    onProbe: (source) => {
      made.source = source;
    },
    onDamage: async (source) => {
      made.source = source;
    },
    onProgress: (progress) => made.progress.push(progress),
    signal: new AbortController().signal,
    log: { info: () => {}, warn: () => {}, error: () => {} },
    ...extra,
  });
  await origin.close();
  expect(await leftovers()).toEqual([]);
  if (outcome.ok) {
    for (const { quality, sizeBytes } of outcome.renditions) {
      const bytes = concat([...(parts.get(quality) ?? [])].toSorted(([a], [b]) => a - b).map(([, part]) => part));
      expect(bytes.length).toBe(sizeBytes);
      const path = clip(`made-${quality}.mp4`);
      await writeFile(path, bytes);
      made.files.set(quality, path);
    }
  }
  return {
    ...made,
    outcome,
    requests: origin.requests(),
    signatures: origin.signatures(),
    sentBytes: origin.sentBytes(),
  };
}

async function leftovers(): Promise<string[]> {
  return (await readdir(folder.path)).filter((name) => name.startsWith("encode-"));
}

/** Codec, size, frames and boxes of a finished file, decoded to its end. */
export async function inspect(made: Made, quality: Quality) {
  const path = made.files.get(quality) ?? "";
  const { streams } = (await probeJson(path, ["-show_streams", "-count_frames"])) as {
    streams: Record<string, unknown>[];
  };
  await decodedFrames(path);
  const picture = streams.find((stream) => stream.codec_type === "video");
  return {
    size: `${picture?.width}x${picture?.height}`,
    frames: Number(picture?.nb_read_frames),
    rate: picture?.r_frame_rate,
    colour: picture?.color_space,
    rotated: picture?.side_data_list !== undefined,
    tracks: streams.map((stream) => stream.codec_name ?? stream.codec_tag_string),
    boxes: children(await readFile(path)).map((box) => box.type),
  };
}

export function qualities(made: Made): Quality[] {
  if (!made.outcome.ok) throw new Error(JSON.stringify(made.outcome.failure));
  return made.outcome.renditions.map((rendition) => rendition.quality);
}
