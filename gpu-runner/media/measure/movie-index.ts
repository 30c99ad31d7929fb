/** When the frames of an MP4 or MOV are shown, by its sample tables. No media is read. */
import { type Box, children, FieldReader, versionAndFlags, view } from "../mp4/box.ts";
import type { SourceBytes } from "./source-bytes.ts";
import { readBoxHeader } from "./stated-extent.ts";

export type MovieTrack = {
  /** A run for each edit, in seconds. */
  runs: Float64Array[];
  tickSeconds: number;
};

/** Ten hours at 60 fps have tables of about 30 MB. */
const MAX_INDEX_BYTES = 64 * 1024 * 1024;
const MAX_BOXES = 64;

/** @returns null where there is no index, it is too large, or it is fragmented and says nothing of frames */
export async function readMovieIndex(source: SourceBytes, trackIndex: number): Promise<MovieTrack | null> {
  let at = 0;
  for (let count = 0; count < MAX_BOXES; count++) {
    const box = await readBoxHeader(source, at);
    if (box === null) return null;
    if (box.type !== "moov") {
      at = box.end;
      continue;
    }
    if (box.end - box.bodyFrom > MAX_INDEX_BYTES) return null;
    return trackTimes(await source.read(box.bodyFrom, box.end - box.bodyFrom), trackIndex);
  }
  return null;
}

/** @returns null where the track has no sample tables that can be read: what its decoder makes of it is not known here */
export function trackTimes(movie: Uint8Array, trackIndex: number): MovieTrack | null {
  try {
    const boxes = children(movie);
    const track = boxes.filter(({ type }) => type === "trak")[trackIndex];
    const movieTicks = timescaleOf(find(boxes, "mvhd"));
    const media = track && find(children(track.body), "mdia");
    if (track === undefined || media === undefined || movieTicks === null) return null;
    const mediaBoxes = children(media.body);
    const mediaTicks = timescaleOf(find(mediaBoxes, "mdhd"));
    const tables = [find(mediaBoxes, "minf"), "stbl"] as const;
    const table = tables[0] && find(children(tables[0].body), tables[1]);
    if (mediaTicks === null || table === undefined) return null;
    const shown = shownTicks(children(table.body));
    if (shown.length === 0) return null;
    const edits = editsOf(find(children(track.body), "edts"), mediaTicks / movieTicks);
    const runs = edits
      .map(({ from, to }) => shown.filter((tick) => tick >= from && tick < to).map((tick) => tick / mediaTicks))
      .filter((run) => run.length > 0);
    return { runs, tickSeconds: mediaTicks <= 1000 ? 1 / mediaTicks : 0 };
  } catch {
    return null;
  }
}

function find(boxes: readonly Box[], type: string): Box | undefined {
  return boxes.find((box) => box.type === type);
}

/** Of a movie's or a media's header. */
function timescaleOf(header: Box | undefined): number | null {
  if (header === undefined) return null;
  const at = header.body[0] === 1 ? 20 : 12;
  const ticks = view(header.body).getUint32(at);
  return ticks > 0 ? ticks : null;
}

/** In the order in which they are shown. */
function shownTicks(table: readonly Box[]): Float64Array {
  const decoded = new FieldReader((find(table, "stts") ?? EMPTY).body.subarray(4));
  const deltas = pairsOf(decoded);
  const shown = new Float64Array(deltas.reduce((sum, [count]) => sum + count, 0));
  let at = 0;
  let tick = 0;
  for (const [count, delta] of deltas) {
    for (let i = 0; i < count; i++) {
      shown[at++] = tick;
      tick += delta;
    }
  }
  const offsets = find(table, "ctts");
  if (offsets !== undefined) {
    at = 0;
    for (const [count, offset] of pairsOf(new FieldReader(offsets.body.subarray(4)))) {
      // Version 0 has no sign, but many writers use one.
      const until = Math.min(shown.length, at + count);
      for (; at < until; at++) shown[at] = (shown[at] ?? 0) + (offset | 0);
    }
  }
  const first = firstKeyframe(table);
  const keyframeTick = shown[first] ?? 0;
  // What comes before it, in either order, needs pictures that are not there: no decoder shows it.
  return shown
    .subarray(first)
    .filter((shownTick) => shownTick >= keyframeTick)
    .sort();
}

/** The place of the first sample that decodes alone, in the order of decoding. */
function firstKeyframe(table: readonly Box[]): number {
  const keyframes = find(table, "stss");
  if (keyframes === undefined) return 0;
  const reader = new FieldReader(keyframes.body.subarray(4));
  return reader.u32() === 0 ? 0 : reader.u32() - 1;
}

const EMPTY = { body: new Uint8Array([...versionAndFlags(0), 0, 0, 0, 0]) };
/** More than ten hours at 60 fps are not counted frame by frame. */
const MAX_SAMPLES = 3_000_000;

function pairsOf(reader: FieldReader): [count: number, value: number][] {
  const entries = reader.u32();
  const pairs: [number, number][] = [];
  let samples = 0;
  for (let i = 0; i < entries; i++) {
    const count = reader.u32();
    pairs.push([count, reader.u32()]);
    samples += count;
    if (samples > MAX_SAMPLES) throw new RangeError("too many samples");
  }
  return pairs;
}

/** Spans of the media's ticks that are shown; all of it without a list. */
function editsOf(edts: Box | undefined, mediaPerMovieTick: number): { from: number; to: number }[] {
  const list = edts && find(children(edts.body), "elst");
  if (list === undefined) return [{ from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY }];
  const isLong = list.body[0] === 1;
  const reader = new FieldReader(list.body.subarray(4));
  const edits: { from: number; to: number }[] = [];
  for (let left = reader.u32(); left > 0; left--) {
    const duration = isLong ? reader.u64() : reader.u32();
    const from = isLong ? reader.i64() : reader.i32();
    reader.skip(4);
    if (from < 0) continue;
    edits.push({ from, to: duration === 0 ? Number.POSITIVE_INFINITY : from + duration * mediaPerMovieTick });
  }
  return edits;
}
