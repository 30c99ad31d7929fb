/** A sound track of a source, as ffprobe states it and windows of its samples tell. Pure. */
import { z } from "zod";
import type { FfprobeStream } from "./ffprobe-output.ts";

export const AudioTrack = z.strictObject({
  /** "unknown" where this track cannot be decoded. */
  codec: z.string(),
  channels: z.int().nonnegative(),
  /**
   * As ffmpeg names it, "5.1(side)", or its places, "FL+FC"; of one channel its label, "LFE". Without one the channels are
   * discrete, such as a camera's microphones.
   */
  layout: z.string().nullish(),
  sampleRateHz: z.int().positive().nullable(),
  language: z.string().nullable(),
  /** Absent where the file does not say. */
  durationSeconds: z.number().positive().optional(),
  /** The file plays it unless somebody chooses another; in MP4 and MOV, it is enabled. */
  isDefault: z.literal(true).optional(),
  /** A commentary, or a version for people who cannot see or hear the film. */
  isAside: z.literal(true).optional(),
  /** It belongs to another programme of the stream than the picture. */
  isOfOtherProgramme: z.literal(true).optional(),
  /** Channels, from 0, in which nothing was heard; absent where each has sound, or where it was not measured. */
  silentChannels: z.array(z.int().nonnegative()).max(64).optional(),
});
export type AudioTrack = z.infer<typeof AudioTrack>;

/** What ffprobe says of a track that is no plain version of the film's sound. */
const ASIDES = ["comment", "hearing_impaired", "visual_impaired", "karaoke", "descriptions"];

/** Titles by which recorders and editors label tracks of one channel. */
const LABELS: Readonly<Record<string, string>> = {
  ...{ L: "FL", R: "FR", C: "FC", LFE: "LFE", LS: "SL", RS: "SR", LSS: "SL", RSS: "SR", LSR: "BL", RSR: "BR" },
  ...{ LEFT: "FL", RIGHT: "FR", CENTER: "FC", CENTRE: "FC", SUB: "LFE" },
};

/** `programme`: the streams of the picture's, where the file has programmes. */
export function audioTrackOf(
  stream: FfprobeStream,
  { isLengthCredible, programme }: { isLengthCredible: boolean; programme: ReadonlySet<number> | null },
): AudioTrack {
  const language = stream.tags?.language;
  // ffprobe knows the sample format of whatever it has a decoder for. A track without a frame would hold up the others.
  const decodable = stream.sample_fmt !== undefined && stream.sample_fmt !== "unknown" && stream.nb_frames !== 0;
  const { disposition = {}, index } = stream;
  const isElsewhere = programme !== null && index !== undefined && !programme.has(index);
  return {
    codec: (decodable && stream.codec_name) || "unknown",
    channels: stream.channels ?? 0,
    layout: layoutOf(stream),
    sampleRateHz: stream.sample_rate && stream.sample_rate > 0 ? stream.sample_rate : null,
    language: language && language !== "und" ? language : null,
    ...(isLengthCredible && stream.duration && stream.duration > 0 ? { durationSeconds: stream.duration } : {}),
    ...(disposition.default === 1 ? { isDefault: true as const } : {}),
    ...(ASIDES.some((name) => disposition[name] === 1) ? { isAside: true as const } : {}),
    ...(isElsewhere ? { isOfOtherProgramme: true as const } : {}),
  };
}

/** Of "2 channels (FL+FC)" what is in brackets. */
function layoutOf({ channel_layout: layout, channels, tags }: FfprobeStream): string | null {
  const stated = layout === undefined || layout === "unknown" ? null : layout;
  const places = /^\d+ channels(?: \(([A-Z0-9+]+)\))?/.exec(stated ?? "");
  const known = places === null ? stated : (places[1] ?? null);
  if (channels !== 1 || (known !== null && known !== "mono")) return known;
  return LABELS[(tags?.title ?? tags?.handler_name ?? "").trim().toUpperCase()] ?? known;
}
