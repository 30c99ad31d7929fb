/**
 * Finds and reads the index (moov) of a MOV or MP4 by ranged reads, wherever it lies, without reading the media. Bounded:
 * by the number of boxes it hops over, and by the index's size, which must fit in memory.
 */
import { childrenOf, required, sizeAt, typeAt } from "./movie-box.ts";
import { parseTrack, type Track } from "./movie-track.ts";
import { type ByteSpan, merged } from "./sample-span.ts";
import { unreadable, WholeOnly } from "./whole-reason.ts";

export type ReadRange = (span: ByteSpan) => Promise<Uint8Array>;

export interface MovieIndex {
  /** What a reader needs besides media: the index, and the header of every box that it must hop over. */
  header: ByteSpan[];
  tracks: Track[];
}

export const LARGEST_INDEX_BYTES = 32 * 1024 * 1024;
const MOST_BOXES = 64;
/** Taken whole into the header: what is small is worth no question. */
const SMALL_BOX_BYTES = 64 * 1024;
const FIRST_BYTES = 16;
const knownFirst = new Set(["ftyp", "moov", "mdat", "wide", "free", "skip", "pnot"]);

/** @throws WholeOnly, and what `read` throws */
export async function readMovieIndex(read: ReadRange, fileBytes: number): Promise<MovieIndex> {
  const header: ByteSpan[] = [];
  let moov: ByteSpan | null = null;
  let at = 0;
  for (let boxes = 0; at + 8 <= fileBytes; boxes++) {
    if (boxes === MOST_BOXES) throw unreadable("it is made of too many boxes");
    const start = viewOf(await read({ from: at, to: Math.min(at + FIRST_BYTES, fileBytes) - 1 }));
    const type = typeAt(start, 4);
    if (at === 0 && !knownFirst.has(type)) throw new WholeOnly("not-mov-or-mp4", "it is neither a MOV nor an MP4");
    if (type === "moof") throw new WholeOnly("fragmented", "its index is spread over the file");
    const { headerBytes, boxBytes } = sizeAt(start, 0);
    const length = boxBytes ?? fileBytes - at;
    if (length < headerBytes || at + length > fileBytes) throw unreadable("a box is longer than the file");
    if (type === "moov") moov = { from: at + headerBytes, to: at + length - 1 };
    const kept = type !== "mdat" && (type === "moov" || length <= SMALL_BOX_BYTES) ? length : headerBytes;
    header.push({ from: at, to: at + kept - 1 });
    at += length;
  }
  if (moov === null) throw unreadable("it has no index");
  const moovBytes = moov.to - moov.from + 1;
  if (moovBytes > LARGEST_INDEX_BYTES) throw new WholeOnly("index-too-large", `its index has ${moovBytes} bytes`);
  return { header: merged(header), tracks: parseMovie(await read(moov)) };
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** @param moov the box's content @throws WholeOnly */
export function parseMovie(moov: Uint8Array): Track[] {
  try {
    const boxes = childrenOf(viewOf(moov));
    if (boxes.some(({ type }) => type === "cmov")) throw unreadable("its index is compressed");
    if (boxes.some(({ type }) => type === "mvex"))
      throw new WholeOnly("fragmented", "its index is spread over the file");
    const header = required(boxes, "mvhd");
    const timescale = header.getUint32(header.getUint8(0) === 1 ? 20 : 12);
    if (timescale === 0) throw unreadable("the movie has no timescale");
    return boxes.filter(({ type }) => type === "trak").map(({ body }) => parseTrack(body, timescale));
  } catch (error) {
    // A field that its box has no room for.
    if (error instanceof RangeError) throw unreadable("a box of its index is cut off");
    throw error;
  }
}
