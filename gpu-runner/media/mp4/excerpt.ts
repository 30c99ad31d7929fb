/**
 * Keeps of a file that streams by what is needed to decode its beginning and its end: the first group of pictures beyond
 * what is held back anyway, and the newest group of pictures. Bytes are kept as they came, not copied.
 */
import type { SampleRun } from "./movie-fragment.ts";

export type Piece = { offsetBytes: number; bytes: Uint8Array };

/** Frames from one keyframe to the next. */
export type PictureGroup = {
  /** When its keyframe is shown, in seconds; null for the first group, which needs no seeking. */
  seekSeconds: number | null;
  /** How many samples it has. */
  samples: number;
  /** When its frames are shown, in seconds and in order. */
  frameSeconds: number[];
};

/** What is in memory of a finished file. Everything else of it is gone. */
export type Excerpt = {
  sizeBytes: number;
  pieces: Piece[];
  /** Of the first and the last, those whose bytes are all here; one when they are the same. */
  groups: PictureGroup[];
  /** Whether a group was too large to be kept. */
  partial: boolean;
};

/** Twice what the ladder's rate caps let the largest group have. Above it a group is given up. */
export const MAX_GROUP_BYTES = 32 * 1024 * 1024;

type Window = { from: number; to: number; pieces: Piece[]; whole: boolean };

/** All offsets count from the first payload byte. */
export class ExcerptKeeper {
  private readonly maxGroupBytes: number;
  private readonly first: Window;
  private last: Window = { from: 0, to: 0, pieces: [], whole: false };
  private fragments = 0;

  /** `heldBytes`: payload that is kept by somebody else, from the first byte on. */
  constructor(heldBytes: number, maxGroupBytes = MAX_GROUP_BYTES) {
    this.maxGroupBytes = maxGroupBytes;
    this.first = { from: heldBytes, to: 0, pieces: [], whole: true };
  }

  /** A fragment's payload will follow. `videoRuns`: its pictures, with offsets that count from the stream's start. */
  fragment(payloadStart: number, payloadBytes: number, streamStart: number, videoRuns: readonly SampleRun[]): void {
    const payloadEnd = payloadStart + payloadBytes;
    if (videoRuns.length === 0) return;
    const at = (offset: number) => payloadStart + offset - streamStart;
    // ffprobe looks one packet beyond what it was asked for.
    const firstSampleEnd = at((videoRuns[0]?.offsetBytes ?? 0) + (videoRuns[0]?.samples[0]?.sizeBytes ?? 0));
    if (this.fragments < 2) this.keepFirst(this.fragments === 0 ? payloadEnd : firstSampleEnd);
    this.fragments++;
    const keyframe = lastKeyframe(videoRuns);
    if (keyframe !== null) this.last = { from: at(keyframe), to: 0, pieces: [], whole: true };
    const videoEnd = at(Math.max(...videoRuns.map((run) => run.offsetBytes + run.sizeBytes)));
    this.last.to = payloadEnd - this.last.from <= this.maxGroupBytes ? payloadEnd : videoEnd;
    if (this.last.to - this.last.from <= this.maxGroupBytes) return;
    this.last.pieces = [];
    this.last.whole = false;
  }

  payload(offset: number, bytes: Uint8Array): void {
    if (this.first.whole) keep(this.first, offset, bytes);
    if (this.last.whole) keep(this.last, offset, bytes);
  }

  get firstIsWhole(): boolean {
    return this.first.whole;
  }

  get lastIsWhole(): boolean {
    return this.last.whole;
  }

  pieces(payloadStartBytes: number): Piece[] {
    return [...this.first.pieces, ...this.last.pieces].map(({ offsetBytes, bytes }) => ({
      offsetBytes: payloadStartBytes + offsetBytes,
      bytes,
    }));
  }

  private keepFirst(to: number): void {
    this.first.to = to;
    this.first.whole &&= to - this.first.from <= this.maxGroupBytes;
    if (!this.first.whole) this.first.pieces = [];
  }
}

function keep(window: Window, offset: number, bytes: Uint8Array): void {
  const from = Math.max(window.from, offset);
  const to = Math.min(window.to, offset + bytes.length);
  if (from < to) window.pieces.push({ offsetBytes: from, bytes: bytes.subarray(from - offset, to - offset) });
}

function lastKeyframe(runs: readonly SampleRun[]): number | null {
  let found: number | null = null;
  for (const run of runs) {
    let at = run.offsetBytes;
    for (const sample of run.samples) {
      if (sample.sync) found = at;
      at += sample.sizeBytes;
    }
  }
  return found;
}
