/**
 * The moov of the plain file: the one that the fragmented stream began with, with its tables filled, its durations
 * and edit lists completed, and everything else (codec boxes, SAR, colour tags, timecode track, tags) as it came.
 */
import { withBitRate } from "./bit-rate.ts";
import {
  type Box,
  box,
  boxPieces,
  CorruptFragmentError,
  child,
  children,
  concat,
  FieldReader,
  type Piece,
  u32,
  u64,
  versionAndFlags,
  view,
} from "./box.ts";
import { readTrackDefaults, type SampleDefaults } from "./movie-fragment.ts";
import { SampleTable } from "./sample-table.ts";

export type Track = {
  id: number;
  /** hdlr's type: "vide", "soun", "tmcd". */
  handler: string;
  timescale: number;
  /** The sample entry's type: "avc1", "mp4a", "tmcd". */
  sampleEntry: string;
  boxes: Box[];
  table: SampleTable;
};

export type Movie = {
  timescale: number;
  boxes: Box[];
  tracks: Track[];
  defaults: Map<number, SampleDefaults>;
};

const MAX_U32 = 0xffff_ffff;

/** Reads the moov that a fragmented stream begins with. */
export function readMovie(body: Uint8Array): Movie {
  const boxes = children(body);
  return {
    timescale: readTimescale(child(boxes, "mvhd")),
    boxes,
    tracks: boxes.filter((b) => b.type === "trak").map(readTrack),
    defaults: readTrackDefaults(child(boxes, "mvex")),
  };
}

/** mvhd and mdhd begin alike: version, two times, timescale. */
function readTimescale(header: Box): number {
  const fields = new FieldReader(header.body);
  fields.skip(fields.u32() >>> 24 === 1 ? 16 : 8);
  const timescale = fields.u32();
  if (timescale === 0) throw new CorruptFragmentError("a timescale is zero");
  return timescale;
}

function readTrack(trak: Box): Track {
  const boxes = children(trak.body);
  const media = children(child(boxes, "mdia").body);
  const table = children(child(children(child(media, "minf").body), "stbl").body);
  const idFields = new FieldReader(child(boxes, "tkhd").body);
  idFields.skip(idFields.u32() >>> 24 === 1 ? 16 : 8);
  return {
    id: idFields.u32(),
    handler: text(child(media, "hdlr").body, 8),
    timescale: readTimescale(child(media, "mdhd")),
    sampleEntry: text(child(table, "stsd").body, 12),
    boxes,
    table: new SampleTable(),
  };
}

function text(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}

/** How long pictures are shown, and when the last sound ends; null without sound. */
export function trackSeconds(movie: Movie): { pictureSeconds: number; soundEndSeconds: number | null } {
  const kept = (handler: string) =>
    movie.tracks.filter((track) => track.handler === handler && track.table.sampleCount > 0);
  const picture = kept("vide")[0];
  const sounds = kept("soun").map((track) => presentedTicks(track, movie) / movie.timescale);
  const pictureTicks = picture ? picture.table.presentationEnd - placementOf(picture, movie.timescale).mediaTime : 0;
  return {
    pictureSeconds: pictureTicks / (picture?.timescale ?? 1),
    soundEndSeconds: sounds.length === 0 ? null : Math.max(...sounds),
  };
}

/** Seconds that the longest track is presented. */
export function movieSeconds(movie: Movie): number {
  return Math.max(0, ...movie.tracks.map((track) => presentedTicks(track, movie) / movie.timescale));
}

/** `payloadStartBytes` does not change the moov's size, as long as `wideOffsets` stays the same. */
export function writeMoov(movie: Movie, payloadStartBytes: number, wideOffsets: boolean): Piece[] {
  // A track that got no sample would only show as a silent or black one.
  const kept = new Set(movie.tracks.filter((track) => track.table.sampleCount > 0));
  const nextTrackId = Math.max(0, ...[...kept].map((track) => track.id)) + 1;
  const longest = Math.max(0, ...movie.tracks.map((track) => presentedTicks(track, movie)));
  let trackIndex = 0;
  const pieces = movie.boxes.flatMap((b) => {
    if (b.type === "mvex") return [];
    if (b.type === "mvhd") return [withNextTrackId(withDuration(b, longest, 16), nextTrackId)];
    if (b.type !== "trak") return [b.bytes];
    const track = movie.tracks[trackIndex++];
    return track && kept.has(track) ? writeTrack(track, movie, payloadStartBytes, wideOffsets) : [];
  });
  return boxPieces("moov", ...pieces);
}

function writeTrack(track: Track, movie: Movie, payloadStart: number, wide: boolean): Piece[] {
  const edits = editsOf(track, movie);
  const pieces = track.boxes.flatMap((b) => {
    if (b.type === "tkhd") return [withDuration(b, presentedTicks(track, movie), 20), ...writeEdits(edits)];
    if (b.type === "edts") return [];
    return b.type === "mdia" ? writeMedia(b, track, movie, payloadStart, wide) : [b.bytes];
  });
  return boxPieces("trak", ...pieces);
}

function writeMedia(mdia: Box, track: Track, movie: Movie, payloadStart: number, wide: boolean): Piece[] {
  const replace = (parent: Box, type: string, replacement: (b: Box) => Piece[]) =>
    boxPieces(parent.type, ...children(parent.body).flatMap((b) => (b.type === type ? replacement(b) : [b.bytes])));
  const withTables = (stbl: Box) => {
    const described = withBitRate(child(children(stbl.body), "stsd"), averageBps(track));
    return boxPieces("stbl", described, ...track.table.toBoxes(payloadStart, wide), ...preRoll(track));
  };
  const media = children(mdia.body).flatMap((b): Piece[] => {
    if (b.type === "mdhd") return [withDuration(b, mediaTicks(track, movie), 16)];
    return b.type === "minf" ? replace(b, "stbl", withTables) : [b.bytes];
  });
  return boxPieces("mdia", ...media);
}

function averageBps({ table, timescale }: Track): number | null {
  if (table.decodeEnd === 0) return null;
  return Number((BigInt(table.payloadBytes) * 8n * BigInt(timescale)) / BigInt(table.decodeEnd));
}

/** AAC needs the frame before the one sought to (ISO 14496-12 "roll"); fragmented files leave it unsaid. */
function preRoll(track: Track): Uint8Array[] {
  if (track.sampleEntry !== "mp4a" || track.table.sampleCount === 0) return [];
  const rollDistance = new Uint8Array([0xff, 0xff]);
  const grouping = new TextEncoder().encode("roll");
  return [
    box("sgpd", versionAndFlags(1), grouping, u32(2, 1), rollDistance),
    box("sbgp", versionAndFlags(0), grouping, u32(1, track.table.sampleCount, 1)),
  ];
}

type Edit = {
  /** In the movie's timescale. */ duration: number /** In the track's own; -1 is a gap. */;
  mediaTime: number;
};

/** Where a track begins and ends on the movie's clock. */
type Placement = {
  /** In the movie's timescale. */
  gap: number;
  /** In the track's own: where in the media its presentation begins. */
  mediaTime: number;
};

/**
 * The stream's own edits say where the media begins (B-frame delay, AAC priming, a late start) but leave the length
 * open; the length is known now. A first fragment that does not begin at 0 becomes a gap, as the table begins at 0.
 */
export function placementOf(track: Track, movieTimescale: number): Placement {
  const { firstDecodeTime } = track.table;
  const stated = readEdits(track.boxes);
  const gap = stated.find((edit) => edit.mediaTime === -1)?.duration ?? 0;
  const start = stated.find((edit) => edit.mediaTime >= 0)?.mediaTime ?? 0;
  const lateBy = Math.max(0, firstDecodeTime - start);
  return { gap: gap + toMovie(lateBy, track, movieTimescale), mediaTime: Math.max(0, start - firstDecodeTime) };
}

const toMovie = (ticks: number, track: Track, movieTimescale: number) =>
  Math.ceil((ticks * movieTimescale) / track.timescale);

function editsOf(track: Track, movie: Movie): Edit[] {
  const { gap, mediaTime } = placementOf(track, movie.timescale);
  const { firstPresentation } = track.table;
  const unseen = Math.max(0, firstPresentation - mediaTime);
  const cutOff = Math.max(0, mediaTime - firstPresentation);
  // What is cut off at the start is rounded by itself, as ffmpeg does it.
  const whole = toMovie(unseen + mediaTicks(track, movie), track, movie.timescale);
  const duration = Math.max(0, whole - toMovie(cutOff, track, movie.timescale));
  return [...(gap > 0 ? [{ duration: gap, mediaTime: -1 }] : []), { duration, mediaTime }];
}

/** The length of the media itself, whatever the edits show of it: from the first to the last moment of presentation. */
function mediaTicks(track: Track, movie: Movie): number {
  const { presentationEnd, firstPresentation, decodeEnd } = track.table;
  const counted = countedBy(track, movie);
  if (counted) return Math.round((mediaTicks(counted, movie) * track.timescale) / counted.timescale);
  return presentationEnd > firstPresentation ? presentationEnd - firstPresentation : decodeEnd;
}

/** The video whose frames a timecode track counts. */
function countedBy(track: Track, movie: Movie): Track | undefined {
  return track.handler === "tmcd" ? movie.tracks.find(({ handler }) => handler === "vide") : undefined;
}

/** A timecode track is presented for as long as the video that it counts. */
function presentedTicks(track: Track, movie: Movie): number {
  const shown = countedBy(track, movie) ?? track;
  const { gap, mediaTime } = placementOf(shown, movie.timescale);
  return gap + toMovie(Math.max(0, shown.table.presentationEnd - mediaTime), shown, movie.timescale);
}

function readEdits(trackBoxes: Box[]): Edit[] {
  const edts = trackBoxes.find((b) => b.type === "edts");
  const elst = edts && children(edts.body).find((b) => b.type === "elst");
  if (!elst) return [];
  const fields = new FieldReader(elst.body);
  const version = fields.u32() >>> 24;
  const count = fields.u32();
  return Array.from({ length: Math.min(count, 16) }, () => {
    const duration = version === 1 ? fields.u64() : fields.u32();
    const mediaTime = version === 1 ? fields.i64() : fields.i32();
    fields.skip(4);
    return { duration, mediaTime };
  });
}

function writeEdits(edits: Edit[]): Uint8Array[] {
  const entries = edits.map((edit) => u32(edit.duration, edit.mediaTime >>> 0, 0x0001_0000));
  return [box("edts", box("elst", versionAndFlags(0), u32(entries.length), concat(entries)))];
}

/** Sets the duration of an mvhd, mdhd (at byte 16 of the body) or tkhd (at 20), widening it to 64 bits when it must be. */
function withDuration(header: Box, duration: number, at: 16 | 20): Uint8Array {
  const body = header.body.slice();
  const flags = view(body).getUint32(0) & 0xff_ffff;
  if (body[0] === 1) {
    view(body).setBigUint64(at + 8, BigInt(duration));
    return box(header.type, body);
  }
  if (duration <= MAX_U32) {
    view(body).setUint32(at, duration);
    return box(header.type, body);
  }
  const fields = new FieldReader(body.subarray(4));
  const times = [u64(fields.u32()), u64(fields.u32())];
  return box(
    header.type,
    versionAndFlags(1, flags),
    ...times,
    body.subarray(12, at),
    u64(duration),
    body.subarray(at + 4),
  );
}

function withNextTrackId(mvhd: Uint8Array, nextTrackId: number): Uint8Array {
  view(mvhd).setUint32(mvhd.length - 4, nextTrackId);
  return mvhd;
}
