import { expect, test } from "vitest";
import { choosePicture, programmeOf, type StatedTrack } from "./picture-track.ts";

const track = (index: number, changes: StatedTrack = {}): StatedTrack => ({
  ...{ index, codec_type: "video", codec_name: "h264", width: 1920, height: 1080, duration: 60, nb_frames: 1500 },
  ...changes,
});
const chosen = (streams: StatedTrack[], programs?: Parameters<typeof programmeOf>[0]["programs"]) => {
  const picture = choosePicture({ streams, programs });
  return picture && [picture.video.index, picture.why];
};
const isDefault = { default: 1 };

test("the only track needs no reason; sound alone has no picture", () => {
  expect(chosen([{ index: 0, codec_type: "audio" }, track(1)])).toEqual([1, null]);
  expect(chosen([{ index: 0, codec_type: "audio" }, track(1, { disposition: { attached_pic: 1 } })])).toBeNull();
});

test.each<[string, StatedTrack]>([
  ["a cover", { disposition: { attached_pic: 1 } }],
  ["timed thumbnails", { disposition: { timed_thumbnails: 1 } }],
])("%s is left out", (_, first) => {
  expect(chosen([track(0, first), track(1)])).toEqual([1, "the others are covers or thumbnails"]);
});

test.each<[string, StatedTrack]>([
  ["a default track of one frame", { nb_frames: 1, disposition: isDefault }],
  ["a poster larger than the film", { nb_frames: 1, width: 3840, height: 2160 }],
  ["a title card of three seconds", { duration: 3, nb_frames: 75, disposition: isDefault }],
  ["a track of tiny pictures", { width: 160, height: 120, disposition: isDefault }],
  ["Matroska's short track", { duration: undefined, nb_frames: undefined, tags: { DURATION: "00:00:00.040000000" } }],
])("%s is left out", (_, first) => {
  expect(chosen([track(0, first), track(1)])).toEqual([1, "the others are posters or thumbnails"]);
});

test("default goes before long, long before large, large before first", () => {
  expect(chosen([track(0), track(1, { duration: 50, disposition: isDefault })])).toEqual([
    1,
    "it is the default track",
  ]);
  expect(chosen([track(0, { duration: 50 }), track(1, { width: 1280, height: 720 })])).toEqual([
    1,
    "it is the longest",
  ]);
  expect(chosen([track(0, { width: 1280, height: 720 }), track(1)])).toEqual([1, "it is the largest"]);
  expect(chosen([track(0), track(1)])).toEqual([0, "it is the first of several alike"]);
});

test("what cannot be decoded gives way to a track alike, not to a thumbnail", () => {
  const raw = track(0, { codec_name: undefined });
  expect(chosen([raw, track(1)])).toEqual([1, "it is the one that can be decoded"]);
  expect(chosen([raw, track(1, { width: 160, height: 120 })])).toEqual([0, "the others are posters or thumbnails"]);
});

test("a programme's track goes before one of none, and names its sound", () => {
  const programs = [{ program_id: 2, streams: [{ index: 1 }, { index: 2 }] }];
  expect(chosen([track(0), track(1)], programs)).toEqual([1, "it belongs to a programme"]);
  expect(programmeOf({ programs }, 1)).toEqual(new Set([1, 2]));
  expect(programmeOf({ programs }, 0)).toBeNull();
  expect(programmeOf({}, 0)).toBeNull();
});
