/**
 * What a source is: ffprobe's JSON (`-show_format -show_streams`) read into a SourceProbe, or a rejection in words a
 * producer understands. Pure; running ffprobe is the runner's.
 */
import { z } from "zod";
import { AudioTrack, audioTrackOf } from "./audio-track.ts";
import { baseLayerHdr, DOLBY_VISION_ONLY, needsDolbyVision } from "./dolby-vision.ts";
import { FfprobeOutput, type FfprobeStream } from "./ffprobe-output.ts";
import { choosePicture, type PictureTrack, programmeOf, secondsOfTag } from "./picture-track.ts";
import { turnOf } from "./picture-turn.ts";
import { mostDamageSpans, SourceDamage } from "./source-damage.ts";

/** A frame rate or an aspect ratio, exact. */
export const Rational = z.strictObject({
  num: z.int().positive(),
  den: z.int().positive(),
});
export type Rational = z.infer<typeof Rational>;

export const SourceProbe = z.strictObject({
  container: z.string(),
  /** The longest of the container and its streams, as the container states it. */
  durationSeconds: z.number().positive(),
  /** The video stream alone: what the number of frames to expect is computed from. */
  videoDurationSeconds: z.number().positive(),
  /** How much later than the file its picture begins; absent: not at all. */
  pictureDelaySeconds: z.number().positive().optional(),
  /** The rendition begins with its first frame, in spite of the delay; else that frame stands until its time has come. */
  startsWithPicture: z.literal(true).optional(),
  /** The picture's place among all streams of the file, from 0. Absent from what older runners have stored. */
  videoIndex: z.int().nonnegative().optional(),
  /** Why this picture track, in words; absent where the file has no other. */
  videoWhy: z.string().max(200).optional(),
  /** Display size: after the sample aspect ratio, and swapped for a rotation by 90° or 270°. */
  width: z.int().positive(),
  height: z.int().positive(),
  codedWidth: z.int().positive(),
  codedHeight: z.int().positive(),
  sar: Rational,
  /** Clockwise turn a player applies. */
  rotation: z.union([z.literal(0), z.literal(90), z.literal(180), z.literal(270)]),
  /** After that turn, left and right are swapped. */
  mirrored: z.literal(true).optional(),
  /** The nominal rate, or the average one when `vfr`. */
  fps: Rational,
  vfr: z.boolean(),
  videoCodec: z.string(),
  pixelFormat: z.string(),
  bitDepth: z.int().positive(),
  interlaced: z.boolean(),
  hdr: z.enum(["pq", "hlg"]).nullable(),
  /** As ffmpeg names them; null where the file does not say. */
  colorMatrix: z.string().nullable(),
  colorPrimaries: z.string().nullable(),
  colorTransfer: z.string().nullable(),
  fullRange: z.boolean(),
  /** Absent where the file does not say. */
  colorRange: z.enum(["tv", "pc"]).optional(),
  audio: z.array(AudioTrack).max(64),
  /** Told once the encode has met it; absent where all of the source decodes, or was not looked through. */
  damage: z
    .array(SourceDamage)
    .max(2 * mostDamageSpans)
    .optional(),
  timecode: z
    .string()
    .regex(/^\d{2}:\d{2}:\d{2}[:;.]\d{2,3}$/)
    .nullable(),
});
export type SourceProbe = z.infer<typeof SourceProbe>;

export const ProbeRejectionCode = z.enum([
  "INVALID_MEDIA",
  "AUDIO_ONLY",
  "STILL_IMAGE",
  "NO_VIDEO",
  "UNSUPPORTED_CODEC",
  "ENCRYPTED_MEDIA",
  "NO_DURATION",
]);
export type ProbeRejectionCode = z.infer<typeof ProbeRejectionCode>;

export type ProbeReading = { ok: true; source: SourceProbe } | { ok: false; code: ProbeRejectionCode; message: string };

const TEXT_FORMATS = new Set(["tty", "srt", "ass", "webvtt", "subviewer", "microdvd", "concat", "ffmetadata", "hls"]);
/** Sample entries of camera raw, which no ffmpeg decodes: naming it tells what to export. */
const RAW_NAMES: readonly (readonly [RegExp, string])[] = [
  [/^(aprn|aprh)$/, "Apple ProRes RAW"],
  [/^br(aw|hq|st|lt|vn|xv|ld)$/, "Blackmagic RAW"],
  [/^CRAW$/, "Canon Cinema RAW"],
];
const STILL_BRANDS = new Set(["heic", "heix", "mif1", "avif", "heim", "heis"]);

const reject = (code: ProbeRejectionCode, message: string): ProbeReading => ({
  ok: false,
  code,
  message,
});

/** What the picture's own packets say, which goes before what headers state. */
export type PictureMeasure = {
  /** null: not known. */
  timing: Pick<SourceProbe, "fps" | "vfr"> | null;
  /** null: not known, or as stated. */
  pictureSeconds: number | null;
  /** The container states a length that its bytes cannot have. */
  statesWrongLength: boolean;
};

/** Reads ffprobe's output. Without a measured length, a file that states none is rejected as NO_DURATION. */
export function readProbe(json: unknown, measured: PictureMeasure | null = null): ProbeReading {
  const parsed = FfprobeOutput.safeParse(json);
  if (!parsed.success) return reject("INVALID_MEDIA", "The file is not media that can be read.");
  const { format, streams, packets } = parsed.data;
  const formats = format.format_name.split(",");

  if (formats.some((name) => TEXT_FORMATS.has(name))) {
    return reject("INVALID_MEDIA", "The file is text, not media, whatever its name says.");
  }
  const brand = format.tags?.major_brand?.trim().toLowerCase();
  if (formats.some((name) => name === "image2" || name.endsWith("_pipe")) || STILL_BRANDS.has(brand ?? "")) {
    return reject("STILL_IMAGE", "The file is a still image; there is no video to make renditions of.");
  }

  // Decrypting is nobody's wish here, and decoding what is encrypted "works": it gives garbage.
  if (packets?.some((packet) => packet.side_data_list?.some((data) => data.side_data_type === "Encryption info"))) {
    return reject("ENCRYPTED_MEDIA", "The media is encrypted; upload a file without protection.");
  }

  const picture = choosePicture(parsed.data);
  if (!picture) return rejectWithoutVideo(streams);
  const { video } = picture;
  const raw = formats.includes("r3d") ? "RED raw (R3D)" : rawNameOf(video);
  if (raw)
    return reject("UNSUPPORTED_CODEC", `The video is ${raw}, which cannot be decoded here; export it as ProRes.`);
  if (!video.codec_name || video.codec_name === "unknown") {
    return reject("UNSUPPORTED_CODEC", "The video is in a format that this encoder cannot decode.");
  }
  if (needsDolbyVision(video.side_data_list)) return reject("UNSUPPORTED_CODEC", DOLBY_VISION_ONLY);
  if (!video.width || !video.height) {
    return reject("INVALID_MEDIA", "The video track has no picture size: the file is damaged or incomplete.");
  }

  const durations = durationsOf(parsed.data, video, measured);
  if (!durations) return reject("NO_DURATION", "The file does not say how long it is; it may be incomplete.");
  const rate = frameRateOf(video, measured?.timing ?? null);
  if (!rate) return reject("INVALID_MEDIA", "The video track has no frame rate: the file is damaged or incomplete.");

  const sar = sampleAspectOf(video);
  const turn = turnOf(video.side_data_list, video.tags?.rotate);
  const { rotation } = turn;
  const displayWidth = Math.max(1, Math.round((video.width * sar.num) / sar.den));
  const turned = rotation === 90 || rotation === 270;
  return {
    ok: true,
    source: {
      container: format.format_name,
      ...durations,
      ...pictureDelayOf(parsed.data, video, rate.fps),
      ...choiceOf(picture),
      width: turned ? video.height : displayWidth,
      height: turned ? displayWidth : video.height,
      codedWidth: video.width,
      codedHeight: video.height,
      sar,
      ...turn,
      ...rate,
      videoCodec: video.codec_name,
      pixelFormat: video.pix_fmt ?? "unknown",
      bitDepth: bitDepthOf(video),
      interlaced: isInterlaced(video),
      hdr: hdrOf(video),
      colorMatrix: known(video.color_space),
      colorPrimaries: known(video.color_primaries),
      colorTransfer: known(video.color_transfer),
      fullRange: video.color_range === "pc" || (video.pix_fmt ?? "").startsWith("yuvj"),
      ...(video.color_range === "pc" || video.color_range === "tv" ? { colorRange: video.color_range } : {}),
      audio: streams
        .filter((s) => s.codec_type === "audio")
        .slice(0, 64)
        .map((stream) =>
          audioTrackOf(stream, {
            isLengthCredible: measured?.statesWrongLength !== true,
            programme: programmeOf(parsed.data, video.index),
          }),
        ),
      timecode: timecodeOf(parsed.data, video),
    },
  };
}

function choiceOf({
  video: { index },
  why,
}: PictureTrack<FfprobeStream>): Pick<SourceProbe, "videoIndex" | "videoWhy"> {
  return { ...(index === undefined ? {} : { videoIndex: index }), ...(why === null ? {} : { videoWhy: why }) };
}

function rawNameOf(video: FfprobeStream): string | undefined {
  return RAW_NAMES.find(([tag]) => tag.test(video.codec_tag_string ?? ""))?.[1];
}

function rejectWithoutVideo(streams: FfprobeStream[]): ProbeReading {
  if (streams.some((s) => s.codec_type === "audio")) {
    return reject("AUDIO_ONLY", "The file has sound but no picture; there is no video to make renditions of.");
  }
  if (streams.length === 0) return reject("INVALID_MEDIA", "The file has no tracks that can be read.");
  return reject("NO_VIDEO", "The file has no video track.");
}

const positive = (value: number | undefined) =>
  value !== undefined && Number.isFinite(value) && value > 0 ? value : undefined;

function durationsOf({ format, streams }: FfprobeOutput, video: FfprobeStream, measure: PictureMeasure | null) {
  const measured = positive(measure?.pictureSeconds ?? undefined);
  if (measure?.statesWrongLength && measured !== undefined) {
    return { durationSeconds: measured, videoDurationSeconds: measured };
  }
  const startSeconds = positive(format.start_time) ?? 0;
  // Some writers of Matroska do state the length; then it may well be shorter than the start.
  const upTo = (end: number | undefined) =>
    end !== undefined && end > startSeconds ? Math.round((end - startSeconds) * 1e6) / 1e6 : end;
  const statesEnd = /^(matroska|mov)\b/.test(format.format_name);
  const stated = positive(statesEnd ? upTo(format.duration) : format.duration);
  const tracksEnd = upTo(endOfTracks(streams));
  // A MOV that does not know its length says that it is the greatest there is: hours or weeks.
  const container = stated !== undefined && tracksEnd !== undefined && stated > tracksEnd + 1 ? tracksEnd : stated;
  const stream = measured ?? positive(video.duration) ?? positive(upTo(secondsOfTag(video.tags?.DURATION)));
  const whole = container ?? stream;
  if (whole === undefined) return null;
  return {
    durationSeconds: Math.max(whole, stream ?? 0),
    videoDurationSeconds: stream ?? whole,
  };
}

/** When the last picture or sound ends; undefined where a track does not say. */
function endOfTracks(streams: readonly FfprobeStream[]): number | undefined {
  const tracks = streams.filter(({ codec_type: type }) => type === "video" || type === "audio");
  const ends = tracks.map(({ start_time: start = 0, duration = 0 }) => (duration > 0 ? start + duration : undefined));
  return ends.every((end) => end !== undefined) ? positive(Math.max(...ends)) : undefined;
}

/** What encoders of AAC, MP3 and WMA put in front of their sound: 1024 to 2112 samples, at 44.1 kHz or more. */
const MAX_PRIMING_SECONDS = 0.05;

/**
 * In whole microseconds, as ffmpeg counts them. Where the picture begins within the sound's first frame, or no later than
 * after a sound encoder's priming, that is where the rendition begins: else its first picture would be written twice, and
 * every frame's number be one too high. At 50 fps and above priming is longer than a frame. Some writers begin a picture
 * with reordered frames at as many intervals, with no edit list that takes them back; and a file may begin with a subtitle.
 */
function pictureDelayOf(
  { format, streams }: FfprobeOutput,
  { start_time: picture, has_b_frames: reorderedFrames = 0 }: FfprobeStream,
  fps: Rational,
): Pick<SourceProbe, "pictureDelaySeconds" | "startsWithPicture"> {
  if (format.start_time === undefined || picture === undefined) return {};
  const delaySeconds = Math.round((picture - format.start_time) * 1e6) / 1e6;
  if (delaySeconds <= 0) return {};
  const sounds = streams.flatMap((s) => (s.codec_type === "audio" && s.start_time !== undefined ? [s.start_time] : []));
  const behindSound = picture - Math.min(picture, ...sounds);
  const frameSeconds = fps.den / fps.num;
  const isStart =
    behindSound < frameSeconds ||
    behindSound <= MAX_PRIMING_SECONDS ||
    behindSound <= reorderedFrames * frameSeconds + 0.001;
  return { pictureDelaySeconds: delaySeconds, ...(isStart ? { startsWithPicture: true as const } : {}) };
}

export function parseRational(text: string | undefined, separator = "/"): Rational | null {
  const [num, den] = (text ?? "").split(separator).map(Number);
  if (!num || !den || !(num > 0) || !(den > 0) || !Number.isSafeInteger(num) || !Number.isSafeInteger(den)) return null;
  return { num, den };
}

/** What is stated decides where nothing was measured, and whether packets are frames or fields. */
function frameRateOf(video: FfprobeStream, timing: PictureMeasure["timing"]): { fps: Rational; vfr: boolean } | null {
  const nominal = parseRational(video.r_frame_rate);
  const average = parseRational(video.avg_frame_rate);
  if (timing !== null) {
    const { fps, vfr } = timing;
    const isOfFields = average !== null && isInterlaced(video) && Math.abs(timesAs(fps, average) - 2) < 0.02;
    return { fps: isOfFields ? { num: fps.num, den: fps.den * 2 } : fps, vfr };
  }
  if (!nominal || !average) {
    const only = nominal ?? average;
    // A clock such as 90000/1 stands for "unknown", not for a rate.
    return only && only.num / only.den <= 1000 ? { fps: only, vfr: false } : null;
  }
  // Above 1 % between the two, the nominal one is only the clock's.
  const ratio = timesAs(nominal, average);
  // The average counts fields, as GXF does whatever its pictures are.
  if (Math.abs(ratio - 0.5) < 0.005) return { fps: nominal, vfr: false };
  // Of fields, not of frames.
  if (isInterlaced(video) && Math.abs(ratio - 2) < 0.02) {
    return { fps: { num: nominal.num, den: nominal.den * 2 }, vfr: false };
  }
  return Math.abs(ratio - 1) > 0.01 ? { fps: average, vfr: true } : { fps: nominal, vfr: false };
}

const timesAs = (rate: Rational, other: Rational) => (rate.num * other.den) / (rate.den * other.num);

function isInterlaced(video: FfprobeStream): boolean {
  return ["tt", "bb", "tb", "bt"].includes(video.field_order ?? "");
}

/** Within 2 % of square is rounding by some camera or editor, not a wish. */
function sampleAspectOf(video: FfprobeStream): Rational {
  const sar = parseRational(video.sample_aspect_ratio, ":");
  return sar && Math.abs(sar.num / sar.den - 1) >= 0.02 ? sar : { num: 1, den: 1 };
}

function hdrOf(video: FfprobeStream): SourceProbe["hdr"] {
  if (video.color_transfer === "smpte2084") return "pq";
  if (video.color_transfer === "arib-std-b67") return "hlg";
  if (known(video.color_transfer) !== null) return null;
  return baseLayerHdr(video.side_data_list);
}

function bitDepthOf(video: FfprobeStream): number {
  const fromFormat = /(?:p|gray|gbrp|gbrap)(9|10|12|14|16)(?:le|be)?$/.exec(video.pix_fmt ?? "")?.[1];
  if (fromFormat) return Number(fromFormat);
  const raw = video.bits_per_raw_sample;
  return raw !== undefined && Number.isInteger(raw) && raw >= 8 && raw <= 16 ? raw : 8;
}

function known(value: string | undefined): string | null {
  return value === undefined || value === "unknown" || value === "unspecified" || value === "reserved" ? null : value;
}

function timecodeOf(output: FfprobeOutput, video: FfprobeStream): string | null {
  const candidates = [video.tags, ...output.streams.map((s) => s.tags), output.format.tags].map((t) => t?.timecode);
  const valid = SourceProbe.shape.timecode.unwrap();
  return candidates.find((candidate) => valid.safeParse(candidate).success) ?? null;
}
