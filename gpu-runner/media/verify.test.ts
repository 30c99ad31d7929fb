import { expect, test } from "vitest";
import type { RenditionPlan } from "../../schemas/ladder.ts";
import { type FfmpegProgress, progressReader } from "./ffmpeg-process.ts";
import { evidence } from "./testing/encode-evidence.ts";
import {
  type LengthTrust,
  missingFramesAllowed,
  missingSound,
  type RenditionEvidence,
  statedSoundSeconds,
  verifyEncode,
} from "./verify.ts";

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
const whole: RenditionEvidence = {
  frames: 1000,
  pictureSeconds: 1000 / 24,
  soundEndSeconds: null,
  decodeTrouble: null,
};
const verify = (
  exitCode: number | null,
  frames: number | null,
  stderrTail: string[] = [],
  { delaySeconds = 0, length = "known" as LengthTrust, damaged = false } = {},
) => {
  const made = frames === null ? null : { ...whole, frames, pictureSeconds: frames / 24 };
  return verifyEncode(evidence(plan, made, { exitCode, stderrTail, delaySeconds, length, damaged }));
};

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

test("of a length that is a hint half may be missing; one that is guessed says nothing", () => {
  expect(verify(0, 500, [], { length: "hint" })).toBeNull();
  expect(verify(0, 499, [], { length: "hint" })).toMatchObject({ code: "TRUNCATED" });
  expect(verify(0, 1, [], { length: "guessed" })).toBeNull();
});

test("what lies before the first frame is not missed", () => {
  expect(verify(0, 994, [], { delaySeconds: 0.02 })).toBeNull();
  expect(verify(0, 993, [], { delaySeconds: 0.05 })).toBeNull();
  expect(verify(0, 992, [], { delaySeconds: 0.05 })).toMatchObject({ code: "TRUNCATED" });
});

test("what cannot be decoded is the source's fault", () => {
  const undecodable = { code: "INVALID_MEDIA", retryable: false };
  const decodeError = "Error while decoding stream #0:0: Invalid data found when processing input";
  expect(verify(1, null, ["Cannot determine format of input stream 0:0 after EOF", "noise"])).toMatchObject(
    undecodable,
  );
  expect(verify(0, null, [decodeError])).toMatchObject(undecodable);
  expect(verify(0, 1000, [decodeError])).toBeNull();
  expect(verify(0, 500, [decodeError])).toMatchObject({ code: "TRUNCATED" });
  expect(verify(0, 500, [decodeError], { damaged: true })).toBeNull();
  expect(verify(1, null, [decodeError])).toMatchObject({ code: "ENCODER_FAILED" });
  expect(verify(null, null, [decodeError])).toMatchObject({ code: "ENCODER_FAILED" });
});

test("frames that are all there must last as long as they should", () => {
  const lasting = (pictureSeconds: number) => verifyEncode(evidence(plan, { ...whole, pictureSeconds }));
  expect([0, 1 / 24, -1.9 / 24].map((off) => lasting(1000 / 24 + off))).toEqual([null, null, null]);
  expect(lasting(45)).toEqual({
    code: "OUTPUT_INCOMPLETE",
    message: "The 360p rendition's 1000 frames last 45.00 seconds, not 41.67.",
    retryable: true,
  });
  expect(lasting(41)).toMatchObject({ code: "OUTPUT_INCOMPLETE" });
});

test("sound may end two seconds or two per cent before the source says; what is missing beyond that is told", () => {
  const ending = (
    soundEndSeconds: number | null,
    soundSeconds: number | null,
    audioBitrateBps: number | null = 128_000,
  ) => missingSound(evidence({ ...plan, audioBitrateBps }, { ...whole, soundEndSeconds }, { soundSeconds }));
  expect([41.6, 39.7, 60].map((end) => ending(end, 41.6))).toEqual([null, null, null]);
  expect(ending(39.5, 41.6)).toEqual({ what: "sound", fromSeconds: 39.5, toSeconds: 41.6 });
  expect(ending(null, 41.6)).toEqual({ what: "sound", fromSeconds: 0, toSeconds: 41.6 });
  expect(ending(3530, 3600)).toBeNull();
  expect(ending(3520, 3600)).not.toBeNull();
  // Nothing is known, nothing is wanted, or there is next to nothing.
  expect([ending(1, null), ending(null, 41.6, null), ending(null, 0.1)]).toEqual([null, null, null]);
});

test("by a clock that jumped, sound is due for as long as the picture", () => {
  const ending = (soundEndSeconds: number) =>
    missingSound(
      evidence(
        { ...plan, audioBitrateBps: 128_000 },
        { ...whole, soundEndSeconds },
        { soundSeconds: 95_245, length: "guessed" },
      ),
    );
  expect(ending(41.6)).toBeNull();
  expect(ending(20)).toMatchObject({ what: "sound", fromSeconds: 20 });
});

test("how long the sound is, is known only where every track that can be decoded says so", () => {
  const track = { codec: "aac", channels: 2, sampleRateHz: 48_000, language: null };
  const seconds = (...tracks: { codec?: string; durationSeconds?: number }[]) =>
    statedSoundSeconds({ audio: tracks.map((own) => ({ ...track, ...own })) });
  expect(seconds()).toBeNull();
  expect(seconds({ durationSeconds: 9 })).toBe(9);
  expect(seconds({ durationSeconds: 9 }, { durationSeconds: 4 })).toBe(4);
  expect(seconds({ durationSeconds: 9 }, {})).toBeNull();
  expect(seconds({ durationSeconds: 9 }, { codec: "unknown" })).toBe(9);
});

test("what does not decode is the encoder's failure", () => {
  const made = { ...whole, decodeTrouble: "its end does not decode: 23 frames came out of 24" };
  expect(verifyEncode(evidence(plan, made))).toEqual({
    code: "ENCODER_FAILED",
    message: "The 360p rendition is damaged: its end does not decode: 23 frames came out of 24.",
    retryable: true,
  });
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
  expect(seen).toEqual([{ frame: 48, fps: 23.9, outTimeSeconds: 2, speed: 1.2, droppedFrames: 0 }]);
  expect(read("[libx264 @ 0x1] frame=I:1")).toBe(false);
  expect(read("Error while decoding stream #0:0: Invalid data found")).toBe(false);
  for (const line of ["frame=0", "out_time_ms=N/A", "speed=N/A", "progress=end"]) read(line);
  expect(seen[1]).toEqual({ frame: 0, fps: 0, outTimeSeconds: 0, speed: 0, droppedFrames: 0 });
});
