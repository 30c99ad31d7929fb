import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import type { ProgressFrame } from "../schemas/api.ts";
import { Asset } from "../schemas/asset.ts";
import { type FileState, newFileState, onFrame, phaseDurations } from "./demo-state.ts";
import { renderFile, summarizeFile } from "./demo-view.ts";
import { textWidth } from "./text-width.ts";

const fileId = "6b04c9651bdec86c4d2f9924";
const jobId = "36356f51d84b4f20d26c8c39";
const at = "2026-11-23T23:00:00.000Z";

type Rendition = Asset["renditions"][number];

function rendition(quality: "360p" | "1080p", status: Rendition["status"], edge: "wanted" | "placed"): Rendition {
  const times = {
    placedAt: at,
    verifiedAt: at,
    lastAccessAt: null,
    evictAfter: null,
    pinnedUntil: null,
    problem: null,
  };
  const archived = status === "archived";
  return {
    quality,
    status,
    jobId,
    width: 640,
    height: 360,
    frames: archived ? 500 : null,
    durationSeconds: archived ? 20 : null,
    sizeBytes: archived ? 2_767_500 : null,
    sha256: null,
    copies: [{ tier: quality === "360p" ? "r2" : "lucidlink", key: "k", status: edge, ...times }],
  };
}

function asset(revision: number, state: Asset["state"], renditions: Rendition[] = []): Asset {
  return Asset.parse({
    fileId,
    clientName: "demo",
    projectName: "first-cut",
    fileName: "日本語のとても長いファイル名を持つ素材-take-0001-final-final.mov",
    sizeBytes: 34_142_639,
    state,
    revision,
    generation: 1,
    jobId,
    problem: null,
    original:
      state === "received" ? null : { tier: "wasabi", key: "k", sizeBytes: 34_142_639, etag: "e", verifiedAt: at },
    source:
      renditions.length === 0
        ? null
        : {
            container: "mov",
            durationSeconds: 20,
            width: 1920,
            height: 1080,
            fps: 23.976_023,
            videoCodec: "prores",
            audio: [],
            rotation: 0,
            hdr: null,
            timecode: null,
          },
    renditions,
    progress: null,
    createdAt: at,
    updatedAt: at,
    links: { self: "/", status: "/", history: "/" },
  });
}

const progress: ProgressFrame = {
  type: "progress",
  fileId,
  jobId,
  percent: 52.4,
  renditions: [{ quality: "360p", percent: 52.4, uploadedBytes: 1_200_000 }],
  fps: 96,
  speed: 3.8,
  etaSeconds: 7,
};

const start = newFileState({ fileId, fileName: asset(1, "received").fileName, sizeBytes: 34_142_639 }, 0);
const text = (state: FileState, columns: number) => renderFile(state, columns).map(stripVTControlCharacters);

function encoding(): FileState {
  const wanted = [rendition("1080p", "encoding", "wanted"), rendition("360p", "encoding", "wanted")];
  const states = [asset(1, "received"), asset(2, "archived"), asset(3, "transcoding", wanted)];
  const followed = states.reduce<FileState>(
    (state, each, index) => onFrame(state, { type: "asset", asset: each }, (index + 1) * 1_000),
    { ...start, sentBytes: 34_142_639, endedAtMs: { upload: 500 } },
  );
  return onFrame(followed, progress, 4_000);
}

test("an encode shows its rungs from the lowest up, with speed and what is left", () => {
  const lines = text(encoding(), 80);
  expect(lines.map((line) => line.trim().split(/\s+/)[0])).toEqual([
    expect.stringMatching(/^日本/),
    "upload",
    "archive",
    "encode",
    "360p",
    "1080p",
    "place",
  ]);
  expect(lines[3]).toMatch(/━.*52 % {2}96 fps {2}3\.8× {2}7\.0 s left$/);
  expect(lines[4]).toMatch(/52 % {2}1\.2 MB$/);
  expect(lines[6]).toContain("· R2 360p  · LucidLink 1080p");
});

test("no line is wider than the terminal, down to 60 columns", () => {
  const failing = { ...encoding(), readBack: { done: 1, of: 2 } };
  for (const columns of [60, 79, 120]) {
    for (const line of text(failing, columns)) expect(textWidth(line), line).toBeLessThanOrEqual(columns);
  }
});

test("phases are timed from the frames, each from the end of the one before", () => {
  const done = asset(9, "distributed", [
    rendition("360p", "archived", "placed"),
    rendition("1080p", "archived", "placed"),
  ]);
  const state = onFrame(encoding(), { type: "batch", frames: [{ type: "asset", asset: done }] }, 9_000);
  expect(phaseDurations(state)).toEqual([
    { phase: "upload", tookMs: 500 },
    { phase: "archive", tookMs: 1_500 },
    { phase: "wait", tookMs: 1_000 },
    { phase: "encode", tookMs: 6_000 },
    { phase: "place", tookMs: 0 },
  ]);
  expect(text(state, 80).at(-1)).toContain("✓ R2 360p  ✓ LucidLink 1080p");
});

test("an older revision, and another asset's frame, change nothing", () => {
  const state = encoding();
  expect(onFrame(state, { type: "snapshot", asset: asset(2, "archived") }, 5_000)).toBe(state);
  const stranger = { ...asset(99, "failed"), fileId: "another-file" };
  expect(onFrame(state, { type: "asset", asset: stranger }, 5_000)).toBe(state);
});

test("piped output tells the stage, and the detail apart from it", () => {
  expect(summarizeFile(encoding())).toEqual({
    stage: expect.stringMatching(/ {2}transcoding$/),
    detail: "52 %  96 fps  3.8×  7.0 s left",
  });
  expect(summarizeFile({ ...start, sentBytes: 17_071_320 }).detail).toBe("50 %");
});
