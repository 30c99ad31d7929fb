/**
 * One track of a movie's index: which sample is shown when, and where its bytes lie. The tables stay as they came, by
 * runs: an hour of sound has 170 million samples.
 */
import { childrenOf, firstOf, required, rowsOf } from "./movie-box.ts";
import { unreadable } from "./whole-reason.ts";

/** A stretch of the movie's time that shows the track from `mediaTime` on. */
export interface Edit {
  startSeconds: number;
  endSeconds: number;
  /** In the track's own timescale. */
  mediaTime: number;
}

export interface Track {
  isVideo: boolean;
  timescale: number;
  edits: Edit[];
  sampleCount: number;
  /** Decode time, and what is added to it for display; constant within a run. */
  times: { firstSample: number; firstTime: number; delta: number }[];
  offsets: { firstSample: number; offset: number }[];
  /** From 0, rising; null: each sample can be begun at. */
  syncSamples: Uint32Array | null;
  sizeOf(sample: number): number;
  uniformBytes: number | null;
  chunks: { firstChunk: number; firstSample: number; samplesPerChunk: number }[];
  chunkCount: number;
  chunkOffset(chunk: number): number;
}

export function parseTrack(trak: DataView, movieTimescale: number): Track {
  const boxes = childrenOf(trak);
  const media = childrenOf(required(boxes, "mdia"));
  const header = required(media, "mdhd");
  const timescale = header.getUint32(header.getUint8(0) === 1 ? 20 : 12);
  if (timescale === 0) throw unreadable("a track has no timescale");
  const handler = required(media, "hdlr").getUint32(8);
  const info = childrenOf(required(media, "minf"));
  checkReferences(firstOf(info, "dinf"));
  const table = childrenOf(required(info, "stbl"));
  const { sampleCount, uniformBytes, sizeOf } = parseSizes(firstOf(table, "stsz"), firstOf(table, "stz2"));
  const { times, endTime } = parseTimes(required(table, "stts"), sampleCount);
  return {
    isVideo: handler === 0x76696465,
    timescale,
    edits: parseEdits(firstOf(boxes, "edts"), movieTimescale, endTime / timescale),
    sampleCount,
    times,
    offsets: parseOffsets(firstOf(table, "ctts")),
    syncSamples: parseSync(firstOf(table, "stss")),
    sizeOf,
    uniformBytes,
    ...parseChunks(required(table, "stsc"), firstOf(table, "stco"), firstOf(table, "co64"), sampleCount),
  };
}

/** Media in another file cannot be told by ranges of this one. */
function checkReferences(dinf: DataView | null): void {
  const dref = dinf === null ? null : firstOf(childrenOf(dinf), "dref");
  if (dref === null) return;
  const entries = childrenOf(new DataView(dref.buffer, dref.byteOffset + 8, Math.max(0, dref.byteLength - 8)));
  if (entries.some(({ body }) => (body.getUint32(0) & 1) === 0)) throw unreadable("its media lies in another file");
}

function parseEdits(edts: DataView | null, movieTimescale: number, mediaSeconds: number): Edit[] {
  const list = edts === null ? null : firstOf(childrenOf(edts), "elst");
  const everything = [{ startSeconds: 0, endSeconds: Math.max(mediaSeconds, 0), mediaTime: 0 }];
  if (list === null) return everything;
  const wide = list.getUint8(0) === 1;
  const rowBytes = wide ? 20 : 12;
  const { count, at } = rowsOf(list, 4, rowBytes);
  if (count === 0) return everything;
  const edits: Edit[] = [];
  let startSeconds = 0;
  for (let row = 0; row < count; row++) {
    const from = at + row * rowBytes;
    const duration = wide ? Number(list.getBigUint64(from)) : list.getUint32(from);
    const mediaTime = wide ? Number(list.getBigInt64(from + 8)) : list.getInt32(from + 4);
    const rate = list.getInt32(from + (wide ? 16 : 8));
    if (mediaTime !== -1 && rate !== 0x10000) throw unreadable("an edit changes the speed");
    // A last edit without a length shows what there is.
    const endSeconds = duration === 0 ? Number.POSITIVE_INFINITY : startSeconds + duration / movieTimescale;
    if (mediaTime !== -1) edits.push({ startSeconds, endSeconds, mediaTime });
    startSeconds = mediaTime === -1 && duration === 0 ? startSeconds : endSeconds;
  }
  return edits;
}

function parseSizes(stsz: DataView | null, stz2: DataView | null) {
  if (stsz !== null) {
    const uniform = stsz.getUint32(4);
    if (uniform !== 0) {
      // Old QuickTime counts single bytes here, whatever a sample is.
      if (uniform === 1) throw unreadable("the sizes of its samples are not told");
      return { sampleCount: stsz.getUint32(8), uniformBytes: uniform, sizeOf: () => uniform };
    }
    const { count, at } = rowsOf(stsz, 8, 4);
    return { sampleCount: count, uniformBytes: null, sizeOf: (sample: number) => stsz.getUint32(at + sample * 4) };
  }
  if (stz2 === null) throw unreadable("there is no stsz box");
  const bits = stz2.getUint8(7);
  if (bits !== 8 && bits !== 16) throw unreadable("its sample sizes have an unknown form");
  const { count, at } = rowsOf(stz2, 8, bits / 8);
  const sizeOf = (sample: number) => (bits === 8 ? stz2.getUint8(at + sample) : stz2.getUint16(at + sample * 2));
  return { sampleCount: count, uniformBytes: null, sizeOf };
}

function parseTimes(stts: DataView, sampleCount: number) {
  const { count, at } = rowsOf(stts, 4, 8);
  const times: Track["times"] = [];
  let firstSample = 0;
  let firstTime = 0;
  for (let row = 0; row < count; row++) {
    const samples = stts.getUint32(at + row * 8);
    const delta = stts.getUint32(at + row * 8 + 4);
    times.push({ firstSample, firstTime, delta });
    firstSample += samples;
    firstTime += samples * delta;
  }
  if (firstSample < sampleCount) throw unreadable("a track has more samples than times");
  return { times, endTime: firstTime };
}

function parseOffsets(ctts: DataView | null): Track["offsets"] {
  if (ctts === null) return [];
  const { count, at } = rowsOf(ctts, 4, 8);
  const offsets: Track["offsets"] = [];
  let firstSample = 0;
  for (let row = 0; row < count; row++) {
    // Signed in either version, as QuickTime writes it and readers take it.
    offsets.push({ firstSample, offset: ctts.getInt32(at + row * 8 + 4) });
    firstSample += ctts.getUint32(at + row * 8);
  }
  return offsets;
}

function parseSync(stss: DataView | null): Uint32Array | null {
  if (stss === null) return null;
  const { count, at } = rowsOf(stss, 4, 4);
  const samples = new Uint32Array(count);
  for (let row = 0; row < count; row++) samples[row] = stss.getUint32(at + row * 4) - 1;
  return samples;
}

function parseChunks(stsc: DataView, stco: DataView | null, co64: DataView | null, sampleCount: number) {
  const table = stco ?? co64;
  if (table === null) throw unreadable("there is no stco box");
  const places = rowsOf(table, 4, stco === null ? 8 : 4);
  const { count, at } = rowsOf(stsc, 4, 12);
  const chunks: Track["chunks"] = [];
  let firstSample = 0;
  for (let row = 0; row < count; row++) {
    const firstChunk = stsc.getUint32(at + row * 12) - 1;
    const last = chunks.at(-1);
    if (last !== undefined) firstSample += (firstChunk - last.firstChunk) * last.samplesPerChunk;
    const samplesPerChunk = stsc.getUint32(at + row * 12 + 4);
    const rises = last === undefined ? firstChunk === 0 : firstChunk > last.firstChunk;
    if (!rises || samplesPerChunk === 0) throw unreadable("its chunks are out of order");
    chunks.push({ firstChunk, firstSample, samplesPerChunk });
  }
  const last = chunks.at(-1);
  const held = last === undefined ? 0 : last.firstSample + (places.count - last.firstChunk) * last.samplesPerChunk;
  if (held < sampleCount) throw unreadable("a track has more samples than its chunks hold");
  return {
    chunks,
    chunkCount: places.count,
    chunkOffset: (chunk: number) =>
      stco === null ? Number(table.getBigUint64(places.at + chunk * 8)) : table.getUint32(places.at + chunk * 4),
  };
}
