/**
 * One track's sample tables, gathered run by run and kept compact (an hour at 60 fps is about 1 MB), and their boxes:
 * stts, ctts, stss, stsz, stsc, stco or co64.
 */
import { boxPieces, CorruptFragmentError, type Piece, type Table, u32, versionAndFlags, view } from "./box.ts";
import type { SampleRun } from "./movie-fragment.ts";

const BLOCK_ITEMS = 8192;

/**
 * A growing list of unsigned 32-bit numbers, in blocks, so that it grows without being copied. A block takes half the
 * memory for as long as its numbers fit into 16 bits, which those of most tables do.
 */
class U32List {
  length = 0;
  private readonly blocks: (Uint16Array | Uint32Array)[] = [];

  push(value: number): void {
    const at = this.length++;
    const block = Math.floor(at / BLOCK_ITEMS);
    this.blocks[block] ??= new Uint16Array(BLOCK_ITEMS);
    this.set(at, value);
  }

  at(index: number): number {
    return this.blocks[Math.floor(index / BLOCK_ITEMS)]?.[index % BLOCK_ITEMS] ?? 0;
  }

  set(index: number, value: number): void {
    const at = Math.floor(index / BLOCK_ITEMS);
    let block = this.blocks[at];
    if (block instanceof Uint16Array && value > 0xffff) {
      block = Uint32Array.from(block);
      this.blocks[at] = block;
    }
    if (block) block[index % BLOCK_ITEMS] = value;
  }

  free(): void {
    // At once: a collector may come after the other renditions have taken as much for their heads.
    for (const { buffer } of this.blocks.splice(0)) if (buffer instanceof ArrayBuffer) buffer.transfer(0);
    this.length = 0;
  }

  toTable(): Table {
    return {
      length: this.length * 4,
      writeTo: (target) => {
        const data = view(target);
        for (let i = 0; i < this.length; i++) data.setUint32(i * 4, this.at(i));
      },
    };
  }
}

/** (count, value) pairs, the form of stts and ctts. */
class RunLengths {
  readonly pairs = new U32List();
  private last: number | null = null;

  add(value: number): void {
    if (value === this.last) {
      this.bumpCount(1);
      return;
    }
    this.pairs.push(1);
    this.pairs.push(value >>> 0);
    this.last = value;
  }

  /** Replaces the value of the newest item alone. */
  replaceNewest(value: number): void {
    const count = this.pairs.at(this.pairs.length - 2);
    if (value === this.last) return;
    if (count === 1) this.pairs.length -= 2;
    else this.bumpCount(-1);
    this.last = this.pairs.length > 0 ? this.pairs.at(this.pairs.length - 1) : null;
    this.add(value);
  }

  get newest(): number {
    return this.pairs.at(this.pairs.length - 1);
  }

  /** Each item's value, one after another. */
  *values(): Generator<number, void, undefined> {
    for (let i = 0; i < this.pairs.length; i += 2) {
      for (let left = this.pairs.at(i); left > 0; left--) yield this.pairs.at(i + 1);
    }
  }

  private bumpCount(by: number): void {
    const at = this.pairs.length - 2;
    this.pairs.set(at, this.pairs.at(at) + by);
  }
}

export class SampleTable {
  sampleCount = 0;
  /** Of all samples together. */
  payloadBytes = 0;
  /** Decode time of the first sample in the stream; the table itself begins at 0. */
  firstDecodeTime = 0;
  /** When the first sample is presented, by the table's clock. */
  firstPresentation = 0;
  /** Sum of the sample durations: where the next sample would be decoded. */
  decodeEnd = 0;

  private readonly sizes = new U32List();
  private readonly durations = new RunLengths();
  private readonly compositionOffsets = new RunLengths();
  private readonly syncSamples = new U32List();
  /** Chunk positions count from the first payload byte; they may pass 4 GiB. */
  private readonly chunkOffsets: number[] = [];
  private readonly samplesPerChunk = new U32List();
  private hasCompositionOffsets = false;
  private hasNegativeOffsets = false;
  private latestPresentation = 0;

  /**
   * End of the sample that is presented last. Its own stated duration is a distance between decode times, which at a
   * variable rate belongs to another frame; the newest sample's is the only one that is a true length.
   */
  get presentationEnd(): number {
    return this.sampleCount === 0 ? 0 : this.latestPresentation + this.durations.newest;
  }

  /** `payloadOffsetBytes`: the run's first byte, counted from the first payload byte of the new file. */
  addRun(run: SampleRun, payloadOffsetBytes: number): void {
    if (run.samples.length === 0) return;
    this.startAt(run.decodeTime);
    if (this.sampleCount === 0) this.firstPresentation = run.samples[0]?.compositionOffset ?? 0;
    this.chunkOffsets.push(payloadOffsetBytes);
    this.samplesPerChunk.push(run.samples.length);
    this.payloadBytes += run.sizeBytes;
    for (const sample of run.samples) {
      this.sampleCount++;
      this.sizes.push(sample.sizeBytes);
      this.durations.add(sample.duration);
      this.compositionOffsets.add(sample.compositionOffset);
      this.hasCompositionOffsets ||= sample.compositionOffset !== 0;
      this.hasNegativeOffsets ||= sample.compositionOffset < 0;
      if (sample.sync) this.syncSamples.push(this.sampleCount);
      this.latestPresentation = Math.max(this.latestPresentation, this.decodeEnd + sample.compositionOffset);
      this.decodeEnd += sample.duration;
    }
  }

  /** The samples from the first keyframe to the next, and from the last one on, counted from 0; `to` is not one of them. */
  keyframeSpans(): { first: { from: number; to: number }; last: { from: number; to: number } | null } {
    const second = this.syncSamples.length > 1 ? this.syncSamples.at(1) - 1 : this.sampleCount;
    const newest = this.syncSamples.at(this.syncSamples.length - 1) - 1;
    return {
      first: { from: 0, to: second },
      last: newest > 0 ? { from: newest, to: this.sampleCount } : null,
    };
  }

  /** When the samples of a span are presented, by the table's clock, in the order in which they are decoded. */
  presentationTimes({ from, to }: { from: number; to: number }): number[] {
    const times: number[] = [];
    const offsets = this.compositionOffsets.values();
    let decodeTime = 0;
    let index = 0;
    for (const duration of this.durations.values()) {
      if (index >= to) break;
      const offset = (offsets.next().value ?? 0) | 0;
      if (index++ >= from) times.push(decodeTime + offset);
      decodeTime += duration;
    }
    return times;
  }

  /** Makes the newest sample last until `decodeEnd`, if that is later than its beginning. */
  extendTo(decodeEnd: number): void {
    const begin = this.decodeEnd - this.durations.newest;
    if (this.sampleCount === 0 || decodeEnd <= begin) return;
    this.durations.replaceNewest(decodeEnd - begin);
    this.decodeEnd = decodeEnd;
  }

  /** It is written, and will not be asked again. */
  free(): void {
    const { sizes, durations, compositionOffsets, syncSamples, samplesPerChunk } = this;
    for (const list of [sizes, durations.pairs, compositionOffsets.pairs, syncSamples, samplesPerChunk]) list.free();
  }

  /**
   * In a fragmented file a fragment states when it begins; in a plain one only durations do. A fragment's last sample
   * may therefore need mending once the next fragment is known.
   */
  private startAt(decodeTime: number | null): void {
    if (decodeTime === null) return;
    if (this.sampleCount === 0) {
      this.firstDecodeTime = decodeTime;
      return;
    }
    const begin = this.decodeEnd - this.durations.newest;
    if (decodeTime - this.firstDecodeTime <= begin) throw new CorruptFragmentError("a fragment goes back in time");
    this.extendTo(decodeTime - this.firstDecodeTime);
  }

  /** Boxes of the stbl after stsd. `payloadStartBytes`: where in the file the first payload byte lies. */
  toBoxes(payloadStartBytes: number, wideOffsets: boolean): Piece[] {
    const everySampleIsSync = this.syncSamples.length === this.sampleCount;
    const boxes = this.pairsBox("stts", this.durations, 0);
    if (!everySampleIsSync) {
      const { syncSamples } = this;
      boxes.push(...boxPieces("stss", versionAndFlags(0), u32(syncSamples.length), syncSamples.toTable()));
    }
    if (this.hasCompositionOffsets) {
      boxes.push(...this.pairsBox("ctts", this.compositionOffsets, this.hasNegativeOffsets ? 1 : 0));
    }
    const places = this.chunkOffsetBox(payloadStartBytes, wideOffsets);
    return [...boxes, ...this.samplesToChunks(), ...this.sampleSizes(), ...places];
  }

  private pairsBox(type: string, runs: RunLengths, version: number): Piece[] {
    return boxPieces(type, versionAndFlags(version), u32(runs.pairs.length / 2), runs.pairs.toTable());
  }

  private sampleSizes(): Piece[] {
    const first = this.sizes.at(0);
    let uniform = this.sampleCount > 0;
    for (let i = 1; i < this.sampleCount && uniform; i++) uniform = this.sizes.at(i) === first;
    return uniform && first > 0
      ? boxPieces("stsz", versionAndFlags(0), u32(first, this.sampleCount))
      : boxPieces("stsz", versionAndFlags(0), u32(0, this.sampleCount), this.sizes.toTable());
  }

  private samplesToChunks(): Piece[] {
    const entries = new U32List();
    let previous = -1;
    for (let i = 0; i < this.samplesPerChunk.length; i++) {
      const count = this.samplesPerChunk.at(i);
      if (count === previous) continue;
      entries.push(i + 1);
      entries.push(count);
      entries.push(1);
      previous = count;
    }
    return boxPieces("stsc", versionAndFlags(0), u32(entries.length / 3), entries.toTable());
  }

  private chunkOffsetBox(payloadStartBytes: number, wide: boolean): Piece[] {
    const { chunkOffsets } = this;
    const places: Table = {
      length: chunkOffsets.length * (wide ? 8 : 4),
      writeTo: (target) => {
        const data = view(target);
        chunkOffsets.forEach((offset, i) => {
          const absolute = payloadStartBytes + offset;
          if (wide) data.setBigUint64(i * 8, BigInt(absolute));
          else data.setUint32(i * 4, absolute);
        });
      },
    };
    return boxPieces(wide ? "co64" : "stco", versionAndFlags(0), u32(chunkOffsets.length), places);
  }
}
