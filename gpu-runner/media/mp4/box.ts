/** ISO base media boxes as bytes: walking the ones that came, building the ones that go out. */

/** The fragmented stream breaks the format, or ended inside a box. The encode must be done again. */
export class CorruptFragmentError extends Error {
  override name = "CorruptFragmentError";
}

export type Box = {
  type: string /** The whole box, header included. */;
  bytes: Uint8Array;
  body: Uint8Array;
};

export const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export function typeAt(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(bytes[at] ?? 0, bytes[at + 1] ?? 0, bytes[at + 2] ?? 0, bytes[at + 3] ?? 0);
}

/** The boxes that `bytes` is made of, one after another and without a remainder. */
export function children(bytes: Uint8Array): Box[] {
  const boxes: Box[] = [];
  const data = view(bytes);
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < 8) throw new CorruptFragmentError("a box header is cut off");
    const short = data.getUint32(at);
    const type = typeAt(bytes, at + 4);
    const headerBytes = short === 1 ? 16 : 8;
    if (bytes.length - at < headerBytes) throw new CorruptFragmentError("a box header is cut off");
    const size = short === 1 ? Number(data.getBigUint64(at + 8)) : short;
    if (size < headerBytes || at + size > bytes.length) {
      throw new CorruptFragmentError(`box ${JSON.stringify(type)} has an impossible size`);
    }
    boxes.push({
      type,
      bytes: bytes.subarray(at, at + size),
      body: bytes.subarray(at + headerBytes, at + size),
    });
    at += size;
  }
  return boxes;
}

export function child(boxes: Box[], type: string): Box {
  const found = boxes.find((box) => box.type === type);
  if (!found) throw new CorruptFragmentError(`box ${type} is missing`);
  return found;
}

export function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    joined.set(chunk, at);
    at += chunk.length;
  }
  return joined;
}

/** Bytes that are only made where they will lie: copied from box to box, the tables of an hour would be made ten times. */
export type Table = { length: number; writeTo: (target: Uint8Array) => void };
export type Piece = Uint8Array | Table;

export const lengthOf = (pieces: readonly Piece[]) => pieces.reduce((sum, piece) => sum + piece.length, 0);

/** One after another, from the target's beginning. */
export function writePieces(pieces: readonly Piece[], target: Uint8Array): void {
  let at = 0;
  for (const piece of pieces) {
    if (piece instanceof Uint8Array) target.set(piece, at);
    else piece.writeTo(target.subarray(at, at + piece.length));
    at += piece.length;
  }
}

/** A box with a 32-bit size, from the pieces of its body. */
export function boxPieces(type: string, ...body: readonly Piece[]): Piece[] {
  const header = new Uint8Array(8);
  const size = 8 + lengthOf(body);
  if (size > 0xffff_ffff) throw new RangeError(`box ${type} is too large`);
  view(header).setUint32(0, size);
  for (let i = 0; i < 4; i++) header[4 + i] = type.charCodeAt(i);
  return [header, ...body];
}

/** The same, written. */
export function box(type: string, ...body: readonly Uint8Array[]): Uint8Array {
  const pieces = boxPieces(type, ...body);
  const bytes = new Uint8Array(lengthOf(pieces));
  writePieces(pieces, bytes);
  return bytes;
}

/** Version and flags, which begin the body of a full box. */
export function versionAndFlags(version: number, flags = 0): Uint8Array {
  return u32(((version << 24) | flags) >>> 0);
}

export function u32(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const data = view(bytes);
  values.forEach((value, i) => {
    data.setUint32(i * 4, value);
  });
  return bytes;
}

export function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  view(bytes).setBigUint64(0, BigInt(value));
  return bytes;
}

/** Reads big-endian fields one after another; running off the end means a corrupt box. */
export class FieldReader {
  private at = 0;
  private readonly data: DataView;

  constructor(bytes: Uint8Array) {
    this.data = view(bytes);
  }

  u32(): number {
    return this.data.getUint32(this.take(4));
  }

  i32(): number {
    return this.data.getInt32(this.take(4));
  }

  u64(): number {
    const value = this.data.getBigUint64(this.take(8));
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new CorruptFragmentError("a 64-bit field is out of range");
    return Number(value);
  }

  i64(): number {
    return Number(this.data.getBigInt64(this.take(8)));
  }

  skip(bytes: number): void {
    this.take(bytes);
  }

  private take(bytes: number): number {
    const from = this.at;
    if (from + bytes > this.data.byteLength) throw new CorruptFragmentError("a box ends inside a field");
    this.at += bytes;
    return from;
  }
}
