import { describe, expect, test } from "vitest";
import { readProbe, SourceProbe } from "./media-probe.ts";
import { sourceProbe } from "./source-probe-sample.ts";

const VIDEO = {
  codec_type: "video",
  codec_name: "h264",
  width: 1920,
  height: 1080,
  pix_fmt: "yuv420p",
  sample_aspect_ratio: "1:1",
  r_frame_rate: "25/1",
  avg_frame_rate: "25/1",
  duration: "10.000000",
  disposition: { attached_pic: 0 },
};
const SOUND = {
  codec_type: "audio",
  codec_name: "aac",
  sample_fmt: "fltp",
  channels: 2,
  channel_layout: "stereo",
  sample_rate: "48000",
  tags: { language: "eng" },
};
const FORMAT = { format_name: "mov,mp4,m4a,3gp,3g2,mj2", duration: "10.040000" };

const read = (video: object = {}, format: object = {}, others: object[] = []) =>
  readProbe({ format: { ...FORMAT, ...format }, streams: [...others, { ...VIDEO, ...video }] });

function source(video: object = {}, format: object = {}, others: object[] = []): SourceProbe {
  const reading = read(video, format, others);
  if (!reading.ok) throw new Error(reading.message);
  return SourceProbe.parse(reading.source);
}

test("a plain clip", () => {
  const audio = [{ codec: "aac", channels: 2, layout: "stereo", sampleRateHz: 48_000, language: "eng" }];
  expect(source({}, {}, [SOUND])).toEqual(sourceProbe({ durationSeconds: 10.04, audio }));
});

describe("picture size", () => {
  test("is what a player shows: pixel shape first, then rotation", () => {
    expect(source({ width: 1440, sample_aspect_ratio: "4:3" })).toMatchObject({ width: 1920, height: 1080 });
    expect(source({ width: 1440, sample_aspect_ratio: "4:3", side_data_list: [{ rotation: -90 }] })).toMatchObject({
      width: 1080,
      height: 1920,
      rotation: 90,
      codedWidth: 1440,
    });
    expect(source({ tags: { rotate: "180" } })).toMatchObject({ width: 1920, height: 1080, rotation: 180 });
  });

  test("takes pixels that are nearly square for square", () => {
    expect(source({ sample_aspect_ratio: "1001:1000" })).toMatchObject({ width: 1920, sar: { num: 1, den: 1 } });
    expect(source({ sample_aspect_ratio: "0:1" })).toMatchObject({ sar: { num: 1, den: 1 } });
  });
});

test("frame rate: nominal, unless the average says that it varies", () => {
  expect(source({ r_frame_rate: "30000/1001", avg_frame_rate: "2997/100" })).toMatchObject({
    fps: { num: 30000, den: 1001 },
    vfr: false,
  });
  expect(source({ r_frame_rate: "60/1", avg_frame_rate: "4000/133" })).toMatchObject({
    fps: { num: 4000, den: 133 },
    vfr: true,
  });
  expect(source({ r_frame_rate: "24/1", avg_frame_rate: "0/0" })).toMatchObject({
    fps: { num: 24, den: 1 },
    vfr: false,
  });
  expect(read({ r_frame_rate: "90000/1", avg_frame_rate: "0/0" })).toMatchObject({ ok: false, code: "INVALID_MEDIA" });
});

test("HDR, depth, range and interlacing", () => {
  const hdr = { color_transfer: "arib-std-b67", color_space: "bt2020nc", pix_fmt: "yuv422p10le", color_range: "tv" };
  expect(source(hdr)).toMatchObject({ hdr: "hlg", bitDepth: 10, colorMatrix: "bt2020nc", fullRange: false });
  expect(source({ color_transfer: "smpte2084", field_order: "tb" })).toMatchObject({ hdr: "pq", interlaced: true });
  expect(source({ pix_fmt: "yuvj420p", color_space: "unknown", field_order: "progressive" })).toMatchObject({
    fullRange: true,
    colorMatrix: null,
    interlaced: false,
  });
  expect(source({ pix_fmt: "gbrpf32le", bits_per_raw_sample: "N/A" })).toMatchObject({ bitDepth: 8 });
});

test("timecode from wherever it is written, and only a real one", () => {
  const tmcd = { codec_type: "data", tags: { timecode: "01:02:03;04" } };
  expect(source({}, {}, [tmcd])).toMatchObject({ timecode: "01:02:03;04" });
  expect(source({}, { tags: { timecode: "10:00:00:00" } })).toMatchObject({ timecode: "10:00:00:00" });
  expect(source({ tags: { timecode: "noon" } })).toMatchObject({ timecode: null });
});

test("a picture that begins later than its file", () => {
  expect(source({ start_time: "1.421333" }, { start_time: "1.400000" })).toMatchObject({
    pictureDelaySeconds: 0.021333,
  });
  expect(source({ start_time: "0.000000" }, { start_time: "0.000000" })).not.toHaveProperty("pictureDelaySeconds");
  expect(source({ start_time: "0.1" })).not.toHaveProperty("pictureDelaySeconds");
});

test("is all the same the first to be shown, where a subtitle or the reordering of frames comes before", () => {
  const subtitle = { codec_type: "subtitle", start_time: "0.000000" };
  const late = { start_time: "0.066000", has_b_frames: 2 };
  const file = { start_time: "0.000000" };
  const startsWithPicture = true;
  const atStart = { ...SOUND, start_time: "0.000000" };
  expect(source(late, file, [subtitle])).toMatchObject({ pictureDelaySeconds: 0.066, startsWithPicture });
  expect(source(late, file, [{ ...SOUND, start_time: "0.129000" }])).toMatchObject({ startsWithPicture });
  expect(source(late, file, [atStart])).toMatchObject({ startsWithPicture });
  const late66 = { ...late, has_b_frames: 0 };
  expect(source(late66, file, [atStart])).not.toHaveProperty("startsWithPicture");
  // Within a frame, or after an encoder's priming, which at 60 fps is longer.
  const slow = { r_frame_rate: "10/1", avg_frame_rate: "10/1" };
  expect(source({ ...late66, ...slow }, file, [atStart])).toMatchObject({ startsWithPicture });
  const fast = { r_frame_rate: "60/1", avg_frame_rate: "60/1", start_time: "0.044000" };
  expect(source({ ...late66, ...fast }, file, [atStart])).toMatchObject({ startsWithPicture });
  const truly = source({ ...late, start_time: "0.500000" }, file, [atStart]);
  expect(truly).not.toHaveProperty("startsWithPicture");
});

const measuredLength = (pictureSeconds: number) => ({ timing: null, pictureSeconds, statesWrongLength: false });

test("duration from the stream, its tag, the container, or a measurement", () => {
  expect(source({ duration: undefined, tags: { DURATION: "00:01:00.500000000" } })).toMatchObject({
    durationSeconds: 60.5,
    videoDurationSeconds: 60.5,
  });
  expect(source({ duration: "N/A" })).toMatchObject({ durationSeconds: 10.04, videoDurationSeconds: 10.04 });
  const none = { format: { format_name: "matroska,webm" }, streams: [{ ...VIDEO, duration: undefined }] };
  expect(readProbe(none)).toMatchObject({ ok: false, code: "NO_DURATION" });
  expect(readProbe(none, measuredLength(4.2))).toMatchObject({
    ok: true,
    source: { durationSeconds: 4.2, videoDurationSeconds: 4.2 },
  });
});

test("an end that is stated, of a file that does not begin at zero, is no length", () => {
  const matroska = { format_name: "matroska,webm", start_time: "3600.000000" };
  const tagged = { duration: undefined, tags: { DURATION: "01:00:02.000000000" } };
  expect(source(tagged, { ...matroska, duration: "3602.500000" })).toMatchObject({
    durationSeconds: 2.5,
    videoDurationSeconds: 2,
  });
  expect(source({ duration: undefined }, { ...matroska, duration: "2.000000" })).toMatchObject({ durationSeconds: 2 });
  expect(source({ duration: "2.0" }, { start_time: "60.0", duration: "62.0" })).toMatchObject({ durationSeconds: 2 });
  expect(source({ start_time: "1.4" }, { format_name: "mpegts", start_time: "1.4" })).toMatchObject({
    durationSeconds: 10.04,
  });
  const live = { format: matroska, streams: [{ ...VIDEO, duration: undefined }] };
  expect(readProbe(live, measuredLength(4))).toMatchObject({
    ok: true,
    source: { durationSeconds: 4, videoDurationSeconds: 4 },
  });
});

test("a container that states far more than its tracks last does not know its length", () => {
  const unknown = { duration: "4294967.295000" };
  const longer = { ...SOUND, start_time: "1.000000", duration: "10.500000" };
  expect(source({}, unknown, [longer])).toMatchObject({ durationSeconds: 11.5, videoDurationSeconds: 10 });
  expect(source({}, { duration: "10.900000" }, [longer])).toMatchObject({ durationSeconds: 10.9 });
  expect(source({}, { duration: "60.000000" }, [SOUND])).toMatchObject({ durationSeconds: 60 });
});

describe("sound", () => {
  const trackOf = (changes: object) => source({}, {}, [{ ...SOUND, ...changes }]).audio[0];

  test("has no layout where the file only counts channels", () => {
    expect(trackOf({ channels: 4, channel_layout: "4 channels" })).toMatchObject({ channels: 4, layout: null });
    expect(trackOf({ channels: 6, channel_layout: "5.1(side)" })).toMatchObject({ layout: "5.1(side)" });
    expect(trackOf({ channel_layout: undefined })).toMatchObject({ layout: null });
  });

  test("is unknown without a decoder or without a single frame", () => {
    expect(trackOf({ codec_name: "ac4", sample_fmt: undefined })).toMatchObject({ codec: "unknown" });
    expect(trackOf({ sample_fmt: "unknown" })).toMatchObject({ codec: "unknown" });
    expect(trackOf({ nb_frames: "0" })).toMatchObject({ codec: "unknown" });
    expect(trackOf({ nb_frames: "N/A" })).toMatchObject({ codec: "aac" });
  });
});

test("a rate of fields is half that rate of frames", () => {
  const fields = { r_frame_rate: "60000/1001", avg_frame_rate: "30000/1001" };
  expect(source({ ...fields, field_order: "tt" })).toMatchObject({ fps: { num: 60000, den: 2002 }, vfr: false });
  expect(source(fields)).toMatchObject({ vfr: true });
  const countedInFields = { r_frame_rate: "25/1", avg_frame_rate: "50/1" };
  expect(source(countedInFields)).toMatchObject({ fps: { num: 25, den: 1 }, vfr: false });
});

test("what is encrypted is known by its packets", () => {
  const packets = [{}, { side_data_list: [{ side_data_type: "Skip Samples" }, { side_data_type: "Encryption info" }] }];
  const json = { format: FORMAT, streams: [VIDEO] };
  expect(readProbe({ ...json, packets })).toMatchObject({ ok: false, code: "ENCRYPTED_MEDIA" });
  expect(readProbe({ ...json, packets: packets.slice(0, 1) })).toMatchObject({ ok: true });
});

describe("refuses", () => {
  const cover = { ...VIDEO, codec_name: "mjpeg", disposition: { attached_pic: 1 } };
  test.each<[string, unknown, string]>([
    ["nonsense", null, "INVALID_MEDIA"],
    ["no tracks", { format: FORMAT, streams: [] }, "INVALID_MEDIA"],
    ["sound", { format: FORMAT, streams: [SOUND] }, "AUDIO_ONLY"],
    ["sound with a cover picture", { format: FORMAT, streams: [SOUND, cover] }, "AUDIO_ONLY"],
    ["subtitles", { format: FORMAT, streams: [{ codec_type: "subtitle" }] }, "NO_VIDEO"],
    ["a text screen", { format: { format_name: "tty" }, streams: [VIDEO] }, "INVALID_MEDIA"],
    ["a PNG", { format: { format_name: "png_pipe" }, streams: [VIDEO] }, "STILL_IMAGE"],
    ["a JPEG", { format: { format_name: "image2" }, streams: [VIDEO] }, "STILL_IMAGE"],
    ["a HEIC", { format: { ...FORMAT, tags: { major_brand: "heic" } }, streams: [VIDEO] }, "STILL_IMAGE"],
    ["an unknown codec", { format: FORMAT, streams: [{ ...VIDEO, codec_name: undefined }] }, "UNSUPPORTED_CODEC"],
    ["Blackmagic RAW", { format: FORMAT, streams: [{ ...VIDEO, codec_tag_string: "brhq" }] }, "UNSUPPORTED_CODEC"],
    ["ProRes RAW", { format: FORMAT, streams: [{ ...VIDEO, codec_tag_string: "aprn" }] }, "UNSUPPORTED_CODEC"],
    ["RED raw", { format: { ...FORMAT, format_name: "r3d" }, streams: [VIDEO] }, "UNSUPPORTED_CODEC"],
    ["no picture size", { format: FORMAT, streams: [{ ...VIDEO, width: 0 }] }, "INVALID_MEDIA"],
  ])("%s", (_, json, code) => {
    expect(readProbe(json)).toMatchObject({ ok: false, code, message: expect.stringMatching(/^The [^{}]+\.$/) });
  });
});
