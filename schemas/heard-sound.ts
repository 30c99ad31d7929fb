/** Which of a source's audio channels a rendition lets hear, and on which side. Pure; plan and encoder agree by it. */
import type { AudioTrack } from "./media-probe.ts";

export type HeardSound =
  /** One track whose channels have places: ffmpeg's own downmix, which keeps the centre. */
  | { kind: "downmix"; track: number }
  /** Discrete channels, such as microphones: the 1st, 3rd, … on the left, the 2nd, 4th, … on the right. */
  | { kind: "spread"; tracks: readonly number[]; channels: number };

/** More microphones than this are an array, and no mix of them is a help. */
const MAX_MONO_TRACKS = 16;

/** Layouts that every ffmpeg can bring to stereo. */
const MIXABLE = /^(mono|stereo|downmix|quad|hexagonal|octagonal|[2-7]\.[01])(\((back|side|front|wide|wide-side)\))?$/;

/**
 * null: nothing to hear. Tracks that hold one channel each are one recording, as cameras write it, unless they are
 * versions in different languages. Of other tracks the first one is heard, as an editor expects of a proxy.
 */
export function heardSound(audio: readonly AudioTrack[]): HeardSound | null {
  const usable = audio
    .map((track, index) => ({ ...track, index }))
    .filter(({ codec, channels }) => codec !== "unknown" && channels > 0);
  const [first] = usable;
  if (!first) return null;
  const languages = new Set(usable.flatMap(({ language }) => language ?? []));
  if (usable.length > 1 && languages.size < 2 && usable.every(({ channels }) => channels === 1)) {
    const tracks = usable.slice(0, MAX_MONO_TRACKS).map(({ index }) => index);
    return { kind: "spread", tracks, channels: tracks.length };
  }
  return first.channels <= 2 || MIXABLE.test(first.layout ?? "")
    ? { kind: "downmix", track: first.index }
    : { kind: "spread", tracks: [first.index], channels: first.channels };
}
