/** Which of a source's audio channels a rendition lets hear, and on which side. Pure; plan and encoder agree by it. */
import type { AudioTrack } from "./audio-track.ts";
import { gainOfPlace, gainsOf, placesOf, type StereoGain } from "./sound-layout.ts";

export type HeardSound = {
  /** Places among the sound tracks, from 0. */
  tracks: readonly number[];
  /** One for each channel of these tracks, in their order. */
  gains: readonly StereoGain[];
  /** In words, where there was a choice. */
  why: string | null;
};

type Track = AudioTrack & { index: number };

/** More microphones than this are an array, and no mix of them is a help. */
const MAX_MONO_TRACKS = 16;
/** Below this share of the longest, a track is a trial or a remark. */
const LEAST_SHARE_OF_LENGTH = 0.5;

export const canDecode = ({ codec, channels }: AudioTrack) => codec !== "unknown" && channels > 0;

/**
 * null: nothing to hear. The rule, in its order: a track that can be decoded; of the picture's programme; no commentary;
 * one with sound in it; the default one, which in MP4 and MOV is the enabled one; none much shorter than the others; the
 * first, and with it, where each holds one channel, those of its language: they are one recording, as cameras write it.
 */
export function heardSound(audio: readonly AudioTrack[]): HeardSound | null {
  const all: Track[] = audio.map((track, index) => ({ ...track, index }));
  let left = all.filter(canDecode);
  let why = left.length > 0 && left.length < all.length ? "it can be decoded" : null;
  const narrow = (reason: string, kept: Track[]) => {
    if (kept.length === 0 || kept.length === left.length) return;
    left = kept;
    why = reason;
  };
  narrow(
    "it belongs to the picture's programme",
    left.filter(({ isOfOtherProgramme }) => !isOfOtherProgramme),
  );
  narrow(
    "the others are commentary, or for people who cannot see or hear the film",
    left.filter(({ isAside }) => !isAside),
  );
  // Of one recording's channels silent and short ones keep their sides and their labels.
  const isOneRecording = left.every(isMono);
  if (!isOneRecording)
    narrow(
      "the others are silent",
      left.filter((track) => !isSilent(track)),
    );
  narrow("it is the default track", defaultOnes(left));
  if (!isOneRecording) narrow("the others are much shorter", longOnes(left));
  const [first] = left;
  if (first === undefined) return null;
  const recording = recordingOf(left);
  if (recording.length > 1) return { ...together(recording), why: "tracks of one channel are one recording" };
  if (left.length > 1) why = "it is the first";
  return { tracks: [first.index], gains: gainsOf(first.layout, first.channels) ?? spread(first), why };
}

const isMono = ({ channels }: AudioTrack) => channels === 1;

const isSilent = ({ channels, silentChannels = [] }: AudioTrack) => silentChannels.length >= channels;

/** Writers that set the flag without a thought set it on the first track: then it says nothing of the others. */
function defaultOnes(tracks: Track[]): Track[] {
  return tracks[0]?.isDefault ? tracks : tracks.filter(({ isDefault }) => isDefault);
}

/** What a track does not state is not held against it. */
function longOnes(tracks: Track[]): Track[] {
  const longest = Math.max(0, ...tracks.map(({ durationSeconds = 0 }) => durationSeconds));
  const least = longest * LEAST_SHARE_OF_LENGTH;
  return tracks.filter(({ durationSeconds = longest }) => durationSeconds >= least);
}

/** Those of the first one's language, where each track holds one channel; another language is another version. */
function recordingOf(tracks: readonly Track[]): readonly Track[] {
  if (!tracks.every(isMono)) return [];
  const language = tracks.find((track) => track.language !== null)?.language ?? null;
  const versions = tracks.filter((track) => track.language === null || track.language === language);
  if (versions.length <= MAX_MONO_TRACKS) return versions;
  const heard = versions.filter((track) => !isSilent(track));
  return (heard.length > 0 ? heard : versions).slice(0, MAX_MONO_TRACKS);
}

/** Each at the place of its label, where all have one and no two the same; otherwise spread over both sides. */
function together(recording: readonly Track[]): Pick<HeardSound, "tracks" | "gains"> {
  const places = recording.flatMap(({ layout }) => placesOf(layout) ?? []);
  const isLabelled =
    places.length === recording.length &&
    new Set(places).size === places.length &&
    places.includes("FL") &&
    places.includes("FR");
  const silent = recording.flatMap((track, i) => (isSilent(track) ? i : []));
  const gains = isLabelled ? places.map(gainOfPlace) : sidesInTurn(recording.length, silent);
  // What is not heard need not be decoded.
  const heard = recording.flatMap(({ index }, i) =>
    gains[i]?.some((gain) => gain > 0) ? { index, gain: gains[i] } : [],
  );
  return { tracks: heard.map(({ index }) => index), gains: heard.map(({ gain }) => gain) };
}

/** Discrete channels of one track. */
const spread = ({ channels, silentChannels }: AudioTrack) => sidesInTurn(channels, silentChannels);

/**
 * The 1st, 3rd, … on the left, the 2nd, 4th, … on the right, of equal power however many share a side: a microphone alone
 * keeps its level. Silent ones take no level away, and a side on which nothing sounds gets the other's.
 */
function sidesInTurn(channels: number, silentChannels: readonly number[] = []): StereoGain[] {
  const silent = new Set(silentChannels.length < channels ? silentChannels : []);
  const heard = Array.from({ length: channels }, (_, i) => i).filter((i) => !silent.has(i));
  const left = heard.filter((i) => i % 2 === 0).length;
  const right = heard.length - left;
  const isOneSided = left === 0 || right === 0;
  const gain = (count: number) => 1 / Math.sqrt(count);
  return Array.from({ length: channels }, (_, i): StereoGain => {
    if (silent.has(i)) return [0, 0];
    if (isOneSided) return [gain(heard.length), gain(heard.length)];
    return i % 2 === 0 ? [gain(left), 0] : [0, gain(right)];
  });
}
