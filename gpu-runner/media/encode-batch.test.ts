import { expect, test } from "vitest";
import { defaultLadder } from "../../schemas/ladder.ts";
import { planLadder } from "../../schemas/plan-ladder.ts";
import { lasting, sourceProbe } from "../../schemas/source-probe-sample.ts";
import { afterRefusal, nextBatch, progressOver, type RefusedRun } from "./encode-batch.ts";
import type { EncoderChoice } from "./encoder-probe.ts";
import { GpuProofMemory } from "./gpu-proof-memory.ts";

const plans = planLadder(sourceProbe(lasting(4)), defaultLadder);
const dialect = { frameRateModeOption: "-fps_mode", bFrameReferences: true } as const;
const nvenc: EncoderChoice = { kind: "nvenc", dialect, reason: "NVENC" };
const noSession = "[h264_nvenc @ 0x1] OpenEncodeSessionEx failed: out of memory (10): (no details)";

test("renditions go together as many as the encoder takes, the lowest first", () => {
  const names = (outputsAtOnce?: number) =>
    nextBatch(plans, outputsAtOnce === undefined ? nvenc : { ...nvenc, outputsAtOnce }).map(({ quality }) => quality);
  expect(names()).toEqual(["360p", "540p", "720p", "1080p"]);
  expect(names(3)).toEqual(["360p", "540p", "720p"]);
  expect(names(9)).toHaveLength(4);
});

const refused: RefusedRun = { encoder: nvenc, graph: "cpu", outputs: 4, stderr: noSession, probedAgain: false };

test.each([
  ["too few sessions: one output fewer", {}, { type: "fewer", encoder: { outputsAtOnce: 3 } }],
  ["too few sessions is no fault of the card's graph", { graph: "gpu" }, { type: "fewer" }],
  ["not even one session", { outputs: 1 }, { type: "probe-again" }],
  ["not even one session, on the card", { outputs: 1, graph: "gpu" }, { type: "probe-again" }],
  ["the card's graph failed", { graph: "gpu", stderr: "Impossible to convert" }, { type: "leave-gpu-graph" }],
  ["no card any more", { stderr: "Cannot load libcuda.so.1" }, { type: "probe-again" }],
  [
    "nor after another look",
    { stderr: "Cannot load libcuda.so.1", probedAgain: true },
    { type: "other-encoder", encoder: { kind: "x264", reason: expect.stringContaining("no NVIDIA driver") } },
  ],
] satisfies [string, Partial<RefusedRun>, object][])("%s", (_name, changes, next) => {
  expect(afterRefusal({ ...refused, ...changes })).toMatchObject(next);
});

test("the other encoder keeps nothing of the card", () => {
  const encoder = { ...nvenc, outputsAtOnce: 1, gpuProofs: new GpuProofMemory(() => 0) };
  const next = afterRefusal({ ...refused, encoder, outputs: 1, probedAgain: true });
  expect(Object.keys(next.type === "other-encoder" ? next.encoder : {}).sort()).toEqual(["dialect", "kind", "reason"]);
});

test("where only NVENC may be used, its last refusal is the job's failure", () => {
  const run = { ...refused, encoder: { ...nvenc, only: true }, outputs: 1, probedAgain: true };
  expect(() => afterRefusal(run)).toThrow("FFMPEG_ENCODER=nvenc, but NVENC has no session left");
});

test("progress is the whole job's: earlier runs are whole, later ones not begun", () => {
  const progress = { frame: 50, fps: 25, outTimeSeconds: 2, speed: 1, droppedFrames: 0 };
  const run = { ...progress, renditions: [{ frames: 40, uploadedBytes: 7 }] };
  const all = progressOver(plans, [{ quality: "360p", sizeBytes: 99 }], plans.slice(1, 2), run);
  expect(all.renditions).toEqual([
    { frames: 100, uploadedBytes: 99 },
    { frames: 40, uploadedBytes: 7 },
    { frames: 0, uploadedBytes: 0 },
    { frames: 0, uploadedBytes: 0 },
  ]);
  expect(all.runsLeft).toBe(2);
});
