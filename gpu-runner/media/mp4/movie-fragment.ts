/** Reads one moof: which samples each track gains, and where in the stream their bytes lie. */
import { type Box, CorruptFragmentError, child, children, FieldReader } from "./box.ts";

/** A track's defaults, from its trex. */
export type SampleDefaults = {
  duration: number;
  sizeBytes: number;
  flags: number;
};

/** Samples that lie one after another in the stream. Times are in the track's own timescale. */
export type SampleRun = {
  trackId: number;
  /** Decode time of the first sample; null where the track fragment does not say. */
  decodeTime: number | null;
  offsetBytes: number;
  sizeBytes: number;
  samples: {
    duration: number;
    sizeBytes: number;
    compositionOffset: number;
    sync: boolean;
  }[];
};

const NOT_SYNC = 0x0001_0000;
/** Ten seconds of uncompressed sound at 96 kHz. A run need not spend a byte on a sample, so its count alone proves nothing. */
const MAX_RUN_SAMPLES = 1 << 20;

export function readTrackDefaults(mvex: Box): Map<number, SampleDefaults> {
  const defaults = new Map<number, SampleDefaults>();
  for (const trex of children(mvex.body).filter((b) => b.type === "trex")) {
    const fields = new FieldReader(trex.body);
    fields.skip(4);
    const trackId = fields.u32();
    fields.skip(4);
    defaults.set(trackId, {
      duration: fields.u32(),
      sizeBytes: fields.u32(),
      flags: fields.u32(),
    });
  }
  return defaults;
}

/** Fragments are numbered one after another. */
export function readSequenceNumber(body: Uint8Array): number {
  const fields = new FieldReader(child(children(body), "mfhd").body);
  fields.skip(4);
  return fields.u32();
}

/** `moofOffsetBytes`: where the moof began in the stream; the runs' offsets count from the stream's start. */
export function readMovieFragment(
  body: Uint8Array,
  moofOffsetBytes: number,
  defaults: Map<number, SampleDefaults>,
): SampleRun[] {
  return children(body)
    .filter((b) => b.type === "traf")
    .flatMap((traf) => readTrackFragment(children(traf.body), moofOffsetBytes, defaults));
}

function readTrackFragment(boxes: Box[], moofOffsetBytes: number, defaults: Map<number, SampleDefaults>): SampleRun[] {
  const header = readTrackFragmentHeader(child(boxes, "tfhd"), moofOffsetBytes, defaults);
  let decodeTime = readDecodeTime(boxes);
  let nextOffset = header.baseOffsetBytes;
  return boxes
    .filter((b) => b.type === "trun")
    .map((trun) => {
      const run = readRun(trun, header, nextOffset, decodeTime);
      nextOffset = run.offsetBytes + run.sizeBytes;
      // Only the first run of a fragment has a time of its own.
      decodeTime = null;
      return run;
    });
}

type FragmentHeader = {
  trackId: number;
  baseOffsetBytes: number;
  defaults: SampleDefaults;
};

function readTrackFragmentHeader(tfhd: Box, moofOffset: number, trex: Map<number, SampleDefaults>): FragmentHeader {
  const fields = new FieldReader(tfhd.body);
  const flags = fields.u32() & 0xff_ffff;
  const trackId = fields.u32();
  const fallback = trex.get(trackId);
  if (!fallback) throw new CorruptFragmentError(`a fragment belongs to track ${trackId}, which does not exist`);
  const baseOffsetBytes = flags & 0x1 ? fields.u64() : moofOffset;
  if (flags & 0x2) fields.skip(4);
  return {
    trackId,
    baseOffsetBytes,
    defaults: {
      duration: flags & 0x8 ? fields.u32() : fallback.duration,
      sizeBytes: flags & 0x10 ? fields.u32() : fallback.sizeBytes,
      flags: flags & 0x20 ? fields.u32() : fallback.flags,
    },
  };
}

function readDecodeTime(boxes: Box[]): number | null {
  const tfdt = boxes.find((b) => b.type === "tfdt");
  if (!tfdt) return null;
  const fields = new FieldReader(tfdt.body);
  const version = fields.u32() >>> 24;
  return version === 1 ? fields.u64() : fields.u32();
}

function readRun(trun: Box, header: FragmentHeader, nextOffset: number, decodeTime: number | null): SampleRun {
  const fields = new FieldReader(trun.body);
  const versionAndFlags = fields.u32();
  const version = versionAndFlags >>> 24;
  const flags = versionAndFlags & 0xff_ffff;
  const count = fields.u32();
  if (count > MAX_RUN_SAMPLES) throw new CorruptFragmentError("a fragment has more samples than any real one");
  const offsetBytes = flags & 0x1 ? header.baseOffsetBytes + fields.i32() : nextOffset;
  const firstFlags = flags & 0x4 ? fields.u32() : null;
  const run: SampleRun = {
    trackId: header.trackId,
    decodeTime,
    offsetBytes,
    sizeBytes: 0,
    samples: [],
  };
  for (let i = 0; i < count; i++) {
    const duration = flags & 0x100 ? fields.u32() : header.defaults.duration;
    const sizeBytes = flags & 0x200 ? fields.u32() : header.defaults.sizeBytes;
    const ownFlags = flags & 0x400 ? fields.u32() : header.defaults.flags;
    const sampleFlags = i === 0 && firstFlags !== null ? firstFlags : ownFlags;
    const compositionOffset = flags & 0x800 ? (version === 0 ? fields.u32() : fields.i32()) : 0;
    run.samples.push({
      duration,
      sizeBytes,
      compositionOffset,
      sync: (sampleFlags & NOT_SYNC) === 0,
    });
    run.sizeBytes += sizeBytes;
  }
  return run;
}
