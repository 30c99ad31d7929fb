/**
 * Rewrites a fragmented MP4 stream into the parts of a plain, faststart MP4 (ftyp, moov, mdat) while it is written.
 *
 * The moov comes first in the file but is known last. So the file's first `headParts` parts are held back: they have
 * `reserveBytes` of room for everything before the payload, and the payload's first bytes fill the rest of them. All
 * payload after that goes out as it comes, in parts of one size. At the end the head is built, a `free` box fills what
 * is left of the reserve, and the held parts go out, part 1 last. A file that never outgrew the held parts has no
 * padding at all.
 */
import {
  box,
  boxPieces,
  CorruptFragmentError,
  concat,
  lengthOf,
  type Piece,
  type Table,
  u32,
  u64,
  writePieces,
} from "./box.ts";
import { type Excerpt, ExcerptKeeper } from "./excerpt.ts";
import { fragmentPieces } from "./fragment-stream.ts";
import { readMovieFragment, readSequenceNumber, type SampleRun } from "./movie-fragment.ts";
import { type Movie, movieSeconds, readMovie, trackSeconds, writeMoov } from "./movie-header.ts";
import { createPartBuffers, type PartBuffers } from "./part-buffer.ts";
import { type Part, PartCutter } from "./part-cutter.ts";
import { pictureGroups } from "./picture-group.ts";

/** The tables outgrew the room left for them after payload was already placed. Do it again with `neededBytes`. */
export class MoovOverflowError extends Error {
  override name = "MoovOverflowError";
  readonly neededBytes: number;

  constructor(neededBytes: number) {
    super(`the moov needs ${neededBytes} bytes, more than were reserved`);
    this.neededBytes = neededBytes;
  }
}

export type FaststartOptions = {
  /** Size of every part but the last. */
  partSizeBytes: number;
  /** Room for everything before the payload; see `moovReserveBytes`. */
  reserveBytes: number;
  /** Called with one part at a time; the stream is not read on until it resolves. The bytes are the receiver's. */
  emit: (part: Part) => Promise<void>;
  /** Where the memory of parts comes from; renditions of one run share it. */
  buffers?: PartBuffers;
  /** The largest group of pictures that is kept for the excerpt. */
  maxGroupBytes?: number;
  /** Called as video samples become known, with their number so far. */
  onFrames?: (frames: number) => void;
};

export type FaststartFile = {
  sizeBytes: number;
  parts: number;
  /** Video samples. */
  frames: number;
  durationSeconds: number;
};

export type Rewritten = {
  file: FaststartFile;
  /** How long pictures are shown. */
  pictureSeconds: number;
  /** When the last sound ends; null without sound. */
  soundEndSeconds: number | null;
  excerpt: Excerpt;
};

const MDAT_HEADER_BYTES = 16;
const MIN_FREE_BYTES = 8;
const MAX_32_BIT_OFFSET = 0xffff_ffff;
const FTYP = box("ftyp", ascii("isom"), u32(512), ascii("isomiso2avc1mp41"));

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** A generous bound of a moov, from what the probe expects. */
export function moovReserveBytes(expected: { frames: number; durationSeconds: number; fragments: number }): number {
  const audioFrames = (expected.durationSeconds * 48_000) / 1024;
  // stsz, ctts and stss for a frame of video, stsz for one of sound, stsc and co64 for each track's chunks.
  const tables = expected.frames * (4 + 8 + 1) + audioFrames * 4 + expected.fragments * 2 * (12 + 8);
  return 64 * 1024 + Math.ceil(tables * 1.5);
}

/**
 * Consumes `input` to its end. Throws CorruptFragmentError when the stream breaks off inside a box or is not what its
 * tables say, MoovOverflowError when `reserveBytes` was too small; parts may have gone out by then, but never part 1.
 */
export async function rewriteAsFaststart(
  input: AsyncIterable<Uint8Array>,
  options: FaststartOptions,
): Promise<Rewritten> {
  const rewriter = new Rewriter(options);
  for await (const piece of fragmentPieces(input)) {
    if (piece.kind === "payload") await rewriter.payload(piece.bytes);
    else if (piece.kind === "mdat") rewriter.placeRuns(piece.payloadOffsetBytes, piece.payloadBytes);
    else if (piece.type === "moov") rewriter.begin(piece.body);
    else if (piece.type === "moof") rewriter.fragment(piece.body, piece.offsetBytes);
  }
  return rewriter.end();
}

class Rewriter {
  private readonly options: FaststartOptions;
  private readonly headParts: number;
  /** The held parts as they will go out: room for the head, then payload. */
  private readonly held: Uint8Array;
  private heldBytes = 0;
  private payloadBytes = 0;
  private movie: Movie | null = null;
  private unplacedRuns: SampleRun[] | null = null;
  private sequence: number | null = null;
  private readonly body: PartCutter;
  private bodyParts = 0;
  private readonly excerpt: ExcerptKeeper;

  constructor(options: FaststartOptions) {
    this.options = options;
    this.headParts = Math.max(1, Math.ceil(options.reserveBytes / options.partSizeBytes));
    this.held = new Uint8Array(this.headParts * options.partSizeBytes);
    this.excerpt = new ExcerptKeeper(this.held.length - options.reserveBytes, options.maxGroupBytes);
    const buffers = options.buffers ?? createPartBuffers(1);
    this.body = new PartCutter(this.headParts + 1, options.partSizeBytes, buffers, async (part) => {
      this.bodyParts++;
      await options.emit(part);
    });
  }

  begin(moov: Uint8Array): void {
    if (this.movie) throw new CorruptFragmentError("the stream has a second moov");
    this.movie = readMovie(moov);
  }

  fragment(moof: Uint8Array, offsetBytes: number): void {
    if (!this.movie) throw new CorruptFragmentError("a fragment came before the moov");
    if (this.unplacedRuns) throw new CorruptFragmentError("a fragment has no payload");
    const sequence = readSequenceNumber(moof);
    if (this.sequence !== null && sequence !== this.sequence + 1) {
      throw new CorruptFragmentError(`fragment ${sequence} came after fragment ${this.sequence}`);
    }
    this.sequence = sequence;
    this.unplacedRuns = readMovieFragment(moof, offsetBytes, this.movie.defaults);
  }

  /** The fragment's payload begins here in the stream, and will lie behind all payload so far in the file. */
  placeRuns(payloadOffsetBytes: number, payloadBytes: number): void {
    if (!this.movie || !this.unplacedRuns) throw new CorruptFragmentError("payload came without its fragment");
    for (const run of this.unplacedRuns) {
      const at = run.offsetBytes - payloadOffsetBytes;
      if (at < 0 || at + run.sizeBytes > payloadBytes) {
        throw new CorruptFragmentError("a fragment points outside its payload");
      }
      const track = this.movie.tracks.find((t) => t.id === run.trackId);
      if (!track) throw new CorruptFragmentError(`a fragment belongs to track ${run.trackId}, which does not exist`);
      track.table.addRun(run, this.payloadBytes + at);
    }
    const videoRuns = this.unplacedRuns.filter((run) => run.trackId === this.video()?.id && run.samples.length > 0);
    const describedBytes = this.unplacedRuns.reduce((sum, run) => sum + run.sizeBytes, 0);
    if (describedBytes !== payloadBytes) {
      throw new CorruptFragmentError("a fragment describes more or less than its payload");
    }
    this.excerpt.fragment(this.payloadBytes, payloadBytes, payloadOffsetBytes, videoRuns);
    this.unplacedRuns = null;
    this.options.onFrames?.(this.frames());
  }

  async payload(bytes: Uint8Array): Promise<void> {
    this.excerpt.payload(this.payloadBytes, bytes);
    this.payloadBytes += bytes.length;
    const kept = bytes.subarray(0, this.held.length - this.options.reserveBytes - this.heldBytes);
    this.held.set(kept, this.options.reserveBytes + this.heldBytes);
    this.heldBytes += kept.length;
    if (kept.length < bytes.length) await this.body.write(bytes.subarray(kept.length));
  }

  async end(): Promise<Rewritten> {
    if (!this.movie) throw new CorruptFragmentError("the stream ended before its moov");
    if (this.unplacedRuns) throw new CorruptFragmentError("the stream ended before the last fragment's payload");
    if (this.frames() === 0) throw new CorruptFragmentError("the stream has no video in it");
    extendTimecode(this.movie);
    await this.body.end();

    const spilled = this.payloadBytes > this.heldBytes;
    const head = spilled ? this.paddedHead(this.movie) : this.compactHead(this.movie);
    const start = this.headInPlace(head);
    const headBytes = lengthOf(head);
    const sizeBytes = headBytes + this.payloadBytes;
    const excerpt = {
      sizeBytes,
      pieces: [{ offsetBytes: 0, bytes: start }, ...this.excerpt.pieces(headBytes)],
      ...this.groups(this.movie),
    };
    const ends = trackSeconds(this.movie);
    const durationSeconds = movieSeconds(this.movie);
    const frames = this.frames();
    for (const { table } of this.movie.tracks) table.free();
    const parts = (await this.emitHead(start)) + this.bodyParts;
    return { file: { sizeBytes, parts, frames, durationSeconds }, ...ends, excerpt };
  }

  /** The head and the payload that was held, as they lie in the file. */
  private headInPlace(head: Piece[]): Uint8Array {
    const { reserveBytes } = this.options;
    const from = reserveBytes - lengthOf(head);
    const payload = this.held.subarray(reserveBytes, reserveBytes + this.heldBytes);
    const place = from < 0 ? new Uint8Array(lengthOf(head) + payload.length) : this.held.subarray(from);
    if (from < 0) place.set(payload, lengthOf(head));
    writePieces(head, place);
    return place.subarray(0, lengthOf(head) + payload.length);
  }

  private groups(movie: Movie): Pick<Excerpt, "groups" | "partial"> {
    const { first, last } = pictureGroups(movie);
    const groups = [
      ...(this.excerpt.firstIsWhole ? [first] : []),
      ...(this.excerpt.lastIsWhole && last !== null ? [last] : []),
    ];
    return { groups, partial: groups.length < (last === null ? 1 : 2) };
  }

  /** Exactly `reserveBytes` long. */
  private paddedHead(movie: Movie): Piece[] {
    const { reserveBytes } = this.options;
    const wide = reserveBytes + this.payloadBytes > MAX_32_BIT_OFFSET;
    const moov = writeMoov(movie, reserveBytes, wide);
    const used = FTYP.length + lengthOf(moov) + MDAT_HEADER_BYTES;
    const freeBytes = reserveBytes - used;
    if (freeBytes < MIN_FREE_BYTES) throw new MoovOverflowError(used + MIN_FREE_BYTES);
    // Zeros are there already: written, they would take memory that was never touched.
    const nothing: Table = { length: freeBytes - 8, writeTo: () => undefined };
    return [FTYP, ...moov, ...boxPieces("free", nothing), this.mdatHeader()];
  }

  private compactHead(movie: Movie): Piece[] {
    const headBytes = FTYP.length + lengthOf(writeMoov(movie, 0, false)) + MDAT_HEADER_BYTES;
    return [FTYP, ...writeMoov(movie, headBytes, false), this.mdatHeader()];
  }

  /** With a 64-bit size, so that its own length is known before the payload's is. */
  private mdatHeader(): Uint8Array {
    return concat([u32(1), ascii("mdat"), u64(MDAT_HEADER_BYTES + this.payloadBytes)]);
  }

  private async emitHead(bytes: Uint8Array): Promise<number> {
    const { partSizeBytes, emit } = this.options;
    const parts = Math.ceil(bytes.length / partSizeBytes);
    for (let n = parts; n >= 1; n--) {
      // The excerpt goes on holding them.
      const release = () => undefined;
      await emit({ n, bytes: bytes.subarray((n - 1) * partSizeBytes, n * partSizeBytes), release });
    }
    return parts;
  }

  private video() {
    return this.movie?.tracks.find((track) => track.handler === "vide");
  }

  private frames(): number {
    return this.video()?.table.sampleCount ?? 0;
  }
}

/** A timecode track's one sample covers the whole video; the fragment only knew its own part of it. */
function extendTimecode(movie: Movie): void {
  const video = movie.tracks.find((track) => track.handler === "vide");
  if (!video) return;
  for (const track of movie.tracks.filter((t) => t.handler === "tmcd")) {
    track.table.extendTo(Math.round((video.table.decodeEnd * track.timescale) / video.timescale));
  }
}
