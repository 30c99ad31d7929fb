/** The part of an encode command that is about sound. Pure. */
import { heardSound } from "../../schemas/heard-sound.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";

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
 * does: sound stays with picture.
 */
function keepTime(source: SourceProbe): string[] {
  const start = startOfPicture(source);
  return [...(start === null ? [] : [`asetpts=PTS-${start}/TB`]), "aresample=48000:async=1:first_pts=0"];
}

export function soundCommand(source: SourceProbe, outputs: number): SoundCommand {
  const heard = heardSound(source.audio);
  if (heard === null) return { graph: null, outputOptions: () => ({ map: [], filter: [] }) };
  if (heard.kind === "spread" && heard.tracks.length > 1) return mergedTracks(source, heard.tracks, outputs);
  const track = heard.kind === "downmix" ? heard.track : (heard.tracks[0] ?? 0);
  const filters = heard.kind === "downmix" ? keepTime(source) : [...keepTime(source), spread(heard.channels)];
  return { graph: null, outputOptions: () => ({ map: ["-map", `0:a:${track}`], filter: ["-af", filters.join(",")] }) };
}

/** Each is padded to the whole length, because `amerge` pairs samples as they come and ends with the shortest. */
function mergedTracks(source: SourceProbe, tracks: readonly number[], outputs: number): SoundCommand {
  const samples = Math.ceil(source.durationSeconds * 48_000);
  const padded = [...keepTime(source), "aformat=channel_layouts=mono", `apad=whole_len=${samples}`].join(",");
  const aligned = tracks.map((track, i) => `[0:a:${track}]${padded}[m${i}]`);
  const inputs = tracks.map((_, i) => `[m${i}]`).join("");
  const merged = `${inputs}amerge=inputs=${tracks.length},${spread(tracks.length)}`;
  const labels = Array.from({ length: outputs }, (_, i) => `[a${i}]`).join("");
  const split = outputs > 1 ? `,asplit=${outputs}` : "";
  return {
    graph: [...aligned, `${merged}${split}${labels}`].join(";"),
    outputOptions: (index) => ({ map: ["-map", `[a${index}]`], filter: [] }),
  };
}

/** Of equal power however many share a side: a microphone alone keeps its level, and many do not clip. */
function spread(channels: number): string {
  const side = (first: number) => {
    const mine = Array.from({ length: channels }, (_, i) => i).filter((i) => i % 2 === first);
    const gain = mine.length > 1 ? `${(1 / Math.sqrt(mine.length)).toFixed(4)}*` : "";
    return mine.map((channel) => `${gain}c${channel}`).join("+");
  };
  return `pan=stereo|c0=${side(0)}|c1=${side(1)}`;
}
