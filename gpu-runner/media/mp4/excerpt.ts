/**
 * Keeps of a file that streams by what is needed to decode its beginning and its end: the first group of pictures beyond
 * what is held back anyway, and the newest group of pictures. Bytes are copied into memory that each new group uses again.
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
/** So that a group that is a little larger than the one before needs no new memory. */
const SPARE_BYTES = 256 * 1024;

/** Bytes `from` to `to`, as far as they have come; `memory` may be larger. */
type Window = { from: number; to: number; memory: Uint8Array<ArrayBuffer>; filledBytes: number; whole: boolean };

const emptyWindow = (from: number, whole: boolean): Window => {
  return { from, to: 0, memory: new Uint8Array(0), filledBytes: 0, whole };
};

/** All offsets count from the first payload byte. */
export class ExcerptKeeper {
  private readonly maxGroupBytes: number;
  private readonly first: Window;
  private last: Window = emptyWindow(0, false);
  /** How many have come. */
  private keyframes = 0;

  /** `heldBytes`: payload that is kept by somebody else, from the first byte on. */
  constructor(heldBytes: number, maxGroupBytes = MAX_GROUP_BYTES) {
    this.maxGroupBytes = maxGroupBytes;
    this.first = emptyWindow(heldBytes, true);
  }

  /** A fragment's payload will follow. `videoRuns`: its pictures, with offsets that count from the stream's start. */
  fragment(payloadStart: number, payloadBytes: number, streamStart: number, videoRuns: readonly SampleRun[]): void {
    // What sound has alone is not kept, also between two fragments of one group: nobody decodes it.
    if (videoRuns.length === 0) return;
    const payloadEnd = payloadStart + payloadBytes;
    const at = (offset: number) => payloadStart + offset - streamStart;
    const keyframes = keyframesOf(videoRuns);
    if (this.keyframes < 2) {
      const second = keyframes[1 - this.keyframes];
      // ffprobe looks one packet beyond what it was asked for.
      this.keepFirst(second === undefined ? payloadEnd : at(second.to));
    }
    this.keyframes += keyframes.length;
    const newest = keyframes.at(-1);
    if (newest !== undefined) this.last = { ...this.last, from: at(newest.from), to: 0, filledBytes: 0, whole: true };
    const videoEnd = at(Math.max(...videoRuns.map((run) => run.offsetBytes + run.sizeBytes)));
    this.last.to = payloadEnd - this.last.from <= this.maxGroupBytes ? payloadEnd : videoEnd;
    if (this.last.to - this.last.from <= this.maxGroupBytes) return;
    this.last = emptyWindow(this.last.from, false);
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
    return [this.first, this.last]
      .filter(({ filledBytes }) => filledBytes > 0)
      .map(({ from, memory, filledBytes }) => ({
        offsetBytes: payloadStartBytes + from,
        bytes: memory.subarray(0, filledBytes),
      }));
  }

  private keepFirst(to: number): void {
    this.first.to = to;
    this.first.whole &&= to - this.first.from <= this.maxGroupBytes;
    if (!this.first.whole) Object.assign(this.first, emptyWindow(this.first.from, false));
  }
}

function keep(window: Window, offset: number, bytes: Uint8Array): void {
  const from = Math.max(window.from, offset);
  const to = Math.min(window.to, offset + bytes.length);
  if (from >= to) return;
  const neededBytes = window.to - window.from;
  if (window.memory.length < neededBytes) {
    // A group grows fragment by fragment: what each outgrows is gone at once, and not when it is collected.
    window.memory = new Uint8Array(window.memory.buffer.transfer(neededBytes + SPARE_BYTES));
  }
  window.memory.set(bytes.subarray(from - offset, to - offset), from - window.from);
  window.filledBytes = to - window.from;
}

function keyframesOf(runs: readonly SampleRun[]): { from: number; to: number }[] {
  const found: { from: number; to: number }[] = [];
  for (const run of runs) {
    let from = run.offsetBytes;
    for (const sample of run.samples) {
      const to = from + sample.sizeBytes;
      if (sample.sync) found.push({ from, to });
      from = to;
    }
  }
  return found;
}
