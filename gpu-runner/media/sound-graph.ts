/** The part of an encode command that is about sound. Pure. */
import { type HeardSound, heardSound } from "../../schemas/heard-sound.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import type { StereoGain } from "../../schemas/sound-layout.ts";

export type SoundCommand = {
  /**
   * A filter graph of its own: within the picture's, no frame would be encoded before every track has begun. null where
   * each output needs no more than a filter.
   */
  graph: string | null;
  /** Options of one output, without its codec; none at all where nothing is heard. */
  outputOptions: (index: number) => { map: string[]; filter: string[] };
};

/** Where the rendition begins, of the file's time; null: at its beginning, or the picture is truly late. */
export function startOfPicture({ pictureDelaySeconds, startsWithPicture }: SourceProbe): number | null {
  return startsWithPicture && pictureDelaySeconds !== undefined ? pictureDelaySeconds : null;
}

/** Containers that know the order of their packets, but not when a frame is shown. */
const UNTIMED: ReadonlySet<string> = new Set(["avi", "gxf", "mpegvideo"]);

/** The filter that moves the picture to where the rendition begins; null: it is there. */
export function moveToStart(source: SourceProbe): string | null {
  const start = startOfPicture(source);
  // Not STARTPTS: the graph is made anew where the picture's size changes, and would begin at zero again.
  if (start !== null) return `setpts=round(PTS-${start}/TB)`;
  // What a decoder holds back to sort frames makes all of them late.
  return UNTIMED.has(source.container) && source.pictureDelaySeconds === undefined ? "setpts=PTS-STARTPTS" : null;
}

/**
 * Fills holes and trims overlaps, as recordings of phones and of transport streams have them, and begins when the picture
 * does: sound stays with picture, also where a recorder's two clocks differ. Left to itself ffmpeg lets it run away by a tenth of
 * a second first. (Its soft compensation, an `async` above 1, loses seconds in 5.1.)
 */
function keepTime(source: SourceProbe): string[] {
  const start = startOfPicture(source);
  const stay = "aresample=48000:async=1:min_hard_comp=0.02:first_pts=0";
  return [...(start === null ? [] : [`asetpts=PTS-${start}/TB`]), stay];
}

export function soundCommand(source: SourceProbe, outputs: number): SoundCommand {
  const heard = heardSound(source.audio);
  if (heard === null) return { graph: null, outputOptions: () => ({ map: [], filter: [] }) };
  if (heard.tracks.length > 1) return mergedTracks(source, heard, outputs);
  const filter = ["-af", [...keepTime(source), ...mixToStereo(heard.gains)].join(",")];
  return { graph: null, outputOptions: () => ({ map: ["-map", `0:a:${heard.tracks[0]}`], filter }) };
}

/** Each is padded to the whole length, because `amerge` pairs samples as they come and ends with the shortest. */
function mergedTracks(source: SourceProbe, { tracks, gains }: HeardSound, outputs: number): SoundCommand {
  const samples = Math.ceil(source.durationSeconds * 48_000);
  const padded = [...keepTime(source), "pan=mono|c0=c0", `apad=whole_len=${samples}`].join(",");
  const aligned = tracks.map((track, i) => `[0:a:${track}]${padded}[m${i}]`);
  const inputs = tracks.map((_, i) => `[m${i}]`).join("");
  const merged = [`${inputs}amerge=inputs=${tracks.length}`, ...mixToStereo(gains)].join(",");
  const labels = Array.from({ length: outputs }, (_, i) => `[a${i}]`).join("");
  const split = outputs > 1 ? `,asplit=${outputs}` : "";
  return {
    graph: [...aligned, `${merged}${split}${labels}`].join(";"),
    outputOptions: (index) => ({ map: ["-map", `[a${index}]`], filter: [] }),
  };
}

/**
 * Below full scale by as much as AAC may add. It lets through what is quieter as it is, a thousandth of a second later.
 * Without `level=0` it would lift everything to its limit.
 */
const LIMITER = "alimiter=limit=0.9:attack=1:release=100:level=0";

/** Channels by number: what ffmpeg makes of a layout by itself differs between versions, and for some it is an error. */
function mixToStereo(gains: readonly StereoGain[]): string[] {
  const sides = [0, 1].map((side) => gains.map((gain) => gain[side] ?? 0));
  const isStereo = gains.length === 2 && sides.flat().join() === "1,0,0,1";
  if (isStereo) return [];
  const mayClip = sides.some((side) => side.reduce((sum, gain) => sum + Math.abs(gain), 0) > 1.001);
  return [`pan=stereo|${sides.map((side, i) => `c${i}=${sumOf(side)}`).join("|")}`, ...(mayClip ? [LIMITER] : [])];
}

function sumOf(gains: readonly number[]): string {
  const terms = gains.flatMap((gain, i) => (gain === 0 ? [] : [`${gain === 1 ? "" : `${gain.toFixed(4)}*`}c${i}`]));
  return terms.join("+").replaceAll("+-", "-") || "0*c0";
}
