/**
 * How many bytes a file says that it has, by its own structure: an upload that was cut off ends before. null where the
 * file does not say, as a recording does that was never finished, or a stream.
 */
import { typeAt, view } from "../mp4/box.ts";
import type { SourceBytes } from "./source-bytes.ts";

const HEAD_BYTES = 64 * 1024;
/** Boxes of a movie's top level; a fragmented one may have thousands, and is told apart before. */
const MAX_BOXES = 64;

export async function statedExtentBytes(source: SourceBytes): Promise<number | null> {
  const head = await source.read(0, HEAD_BYTES);
  if (head.length < 16) return null;
  if (view(head).getUint32(0) === 0x1a45_dfa3) return matroskaExtent(head);
  if (typeAt(head, 0) === "RIFF" && typeAt(head, 8) === "AVI ") return 8 + view(head).getUint32(4, true);
  if (view(head).getUint32(0) === 0x060e_2b34) return mxfExtent(head);
  return movieExtent(source);
}

/** The end of the media's box. What follows the last box whole is no part of a movie. */
async function movieExtent(source: SourceBytes): Promise<number | null> {
  let at = 0;
  for (let count = 0; count < MAX_BOXES; count++) {
    const box = await readBoxHeader(source, at);
    if (box === null || box.type === "moof") return null;
    if (box.type === "mdat" && box.end > source.sizeBytes) return box.end;
    at = box.end;
  }
  return null;
}

export type BoxHeader = { type: string; from: number; bodyFrom: number; end: number };

/** @returns null at the end of the file, and where no box begins */
export async function readBoxHeader(source: SourceBytes, at: number): Promise<BoxHeader | null> {
  const bytes = await source.read(at, 16);
  if (bytes.length < 8) return null;
  const short = view(bytes).getUint32(0);
  const type = typeAt(bytes, 4);
  if (!/^[\x20-\x7e\xa9]{4}$/.test(type)) return null;
  if (short === 1 && bytes.length < 16) return null;
  const size = short === 1 ? Number(view(bytes).getBigUint64(8)) : short === 0 ? source.sizeBytes - at : short;
  const headerBytes = short === 1 ? 16 : 8;
  return size < headerBytes ? null : { type, from: at, bodyFrom: at + headerBytes, end: at + size };
}

/** An EBML header, and a Segment that states its length unless it was written live. */
function matroskaExtent(head: Uint8Array): number | null {
  const header = readElement(head, 0);
  const segment = header?.end == null ? null : readElement(head, header.end);
  return segment?.id === 0x1853_8067 ? segment.end : null;
}

function readElement(bytes: Uint8Array, at: number): { id: number; end: number | null } | null {
  const idBytes = lengthOfInteger(bytes[at]);
  const sizeAt = at + idBytes;
  const sizeBytes = lengthOfInteger(bytes[sizeAt]);
  if (idBytes > 4 || sizeBytes > 8 || sizeAt + sizeBytes > bytes.length) return null;
  const id = bigEndian(bytes.subarray(at, sizeAt));
  const size = bytes.slice(sizeAt, sizeAt + sizeBytes);
  // Its first byte tells the length; all ones after that say "unknown". Left in, 8 bytes would be more than a number holds.
  size[0] = (size[0] ?? 0) - (0x80 >> (sizeBytes - 1));
  const value = bigEndian(size);
  return { id, end: value >= 2 ** (7 * sizeBytes) - 1 ? null : sizeAt + sizeBytes + value };
}

const bigEndian = (bytes: Uint8Array) => bytes.reduce((sum, byte) => sum * 256 + byte, 0);

const lengthOfInteger = (first = 0) => Math.clz32(first) - 23;

/** A partition pack's footer, where one was written: the last thing in the file but the index of its partitions. */
function mxfExtent(head: Uint8Array): number | null {
  const lengthByte = head[16] ?? 0;
  const valueAt = 17 + (lengthByte > 0x80 ? lengthByte - 0x80 : 0);
  const footerAt = valueAt + 24;
  if (footerAt + 8 > head.length) return null;
  const footer = Number(view(head).getBigUint64(footerAt));
  return footer > 0 ? footer + 1 : null;
}
