import { expect, test } from "vitest";
import type { RenditionPlan } from "../../schemas/ladder.ts";
import { type FfmpegProgress, progressReader } from "./ffmpeg-process.ts";
import { missingFramesAllowed, verifyEncode } from "./verify.ts";

const plan: RenditionPlan = {
  quality: "360p",
  width: 640,
  height: 360,
  fps: { num: 24, den: 1 },
  resample: false,
  gop: 48,
  keyframeSeconds: 2,
  maxRateBps: 800_000,
  crf: 22,
  cq: 23,
  audioBitrateBps: null,
  timecode: null,
  expectedFrames: 1000,
  expectedDurationSeconds: 41.6,
  partSizeBytes: 8 * 1024 * 1024,
};
const verify = (exitCode: number | null, frames: number | null, stderrTail: string[] = []) =>
  verifyEncode({ exitCode, stderrTail, renditions: [{ plan, frames }] });

test("two frames or half a per cent may be missing", () => {
  expect([1, 48, 400, 1000, 100_000].map(missingFramesAllowed)).toEqual([2, 2, 2, 5, 500]);
});

test("whole is: ffmpeg ended well, every stream ended well, no frame is missing", () => {
  expect(verify(0, 1000)).toBeNull();
  expect(verify(0, 995)).toBeNull();
  expect(verify(0, 1010)).toBeNull();
  expect(verify(0, 994)).toMatchObject({ code: "TRUNCATED", retryable: false });
  expect(verify(0, 994)?.message).toContain("Only 994 of 1000 frames");
  expect(verify(0, null)).toMatchObject({ code: "ENCODER_FAILED", retryable: true });
  expect(verify(255, 1000)).toMatchObject({ code: "ENCODER_FAILED", retryable: true });
  expect(verify(null, 1000)).toMatchObject({ code: "ENCODER_FAILED", retryable: true });
});

test("the encoder's own words are kept", () => {
  expect(verify(1, null, ["[h264_nvenc @ 0x1] out of memory (10)"])?.message).toContain("out of memory (10)");
});

test("progress is read from ffmpeg's key=value blocks, and nothing else is taken for one", () => {
  const seen: FfmpegProgress[] = [];
  const read = progressReader((progress) => seen.push(progress));
  const block =
    "frame=48\nfps=23.9\nstream_0_0_q=28.0\nbitrate=N/A\nout_time_us=2000000\nout_time_ms=2000000\nspeed= 1.2x\nprogress=continue";
  expect(block.split("\n").map(read)).not.toContain(false);
  expect(seen).toEqual([{ frame: 48, fps: 23.9, outTimeSeconds: 2, speed: 1.2 }]);
  expect(read("[libx264 @ 0x1] frame=I:1")).toBe(false);
  expect(read("Error while decoding stream #0:0: Invalid data found")).toBe(false);
  for (const line of ["frame=0", "out_time_ms=N/A", "speed=N/A", "progress=end"]) read(line);
  expect(seen[1]).toEqual({ frame: 0, fps: 0, outTimeSeconds: 0, speed: 0 });
});
