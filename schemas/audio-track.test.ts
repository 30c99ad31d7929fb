import { expect, test } from "vitest";
import { audioTrackOf } from "./audio-track.ts";
import type { FfprobeStream } from "./ffprobe-output.ts";

const read = (stream: Partial<FfprobeStream>, programme: ReadonlySet<number> | null = null) =>
  audioTrackOf(
    {
      index: 1,
      codec_type: "audio",
      codec_name: "pcm_s16le",
      sample_fmt: "s16",
      channels: 1,
      sample_rate: 48_000,
      ...stream,
    },
    { isLengthCredible: true, programme },
  );

test.each([
  ["mono", {}, null],
  ["a label of one channel", { channel_layout: "1 channels (LFE)" }, "LFE"],
  ["odd places", { channels: 2, channel_layout: "2 channels (FL+FC)" }, "FL+FC"],
  ["a number of channels alone", { channels: 12, channel_layout: "12 channels" }, null],
  ["a layout", { channels: 6, channel_layout: "5.1(side)" }, "5.1(side)"],
  ["an unknown layout", { channels: 4, channel_layout: "unknown" }, null],
  ["a title that labels", { channel_layout: "mono", tags: { title: "Ls" } }, "SL"],
  ["a title that does not", { channel_layout: "mono", tags: { title: "Boom" } }, "mono"],
  ["a title of several channels", { channels: 2, channel_layout: "stereo", tags: { title: "L" } }, "stereo"],
])("layout: %s", (_, stream, layout) => {
  expect(read(stream).layout).toBe(layout);
});

test("flags are kept where they are set", () => {
  expect(read({})).toEqual({ codec: "pcm_s16le", channels: 1, layout: null, sampleRateHz: 48_000, language: null });
  expect(read({ disposition: { default: 1 } })).toMatchObject({ isDefault: true });
  expect(read({ disposition: { visual_impaired: 1, default: 0 } })).toMatchObject({ isAside: true });
  expect(read({}, new Set([0, 1]))).not.toHaveProperty("isOfOtherProgramme");
  expect(read({}, new Set([0, 2]))).toMatchObject({ isOfOtherProgramme: true });
});

test("what cannot be decoded, and a track without a frame, has an unknown codec", () => {
  expect(read({ sample_fmt: "unknown" }).codec).toBe("unknown");
  expect(read({ nb_frames: 0 }).codec).toBe("unknown");
});
