/**
 * Measures a source's picture track before the encode: its rate, its length, and whether the file is all there. Reads the
 * index where there is one, and a bounded number of packets otherwise.
 */
import type { PictureMeasure, Rational } from "../../../schemas/media-probe.ts";
import { type FrameTiming, frameTiming } from "./frame-timing.ts";
import { type MovieTrack, readMovieIndex } from "./movie-index.ts";
import { lengthOfPackets, type PacketLine, readPacketLine, runsOf } from "./packet-run.ts";
import { openSourceBytes, type SourceBytes } from "./source-bytes.ts";
import { statedExtentBytes } from "./stated-extent.ts";

export type MeasuredSource = PictureMeasure & {
  /** The length was counted, frame by frame. */
  isCounted: boolean;
  /** The end of what the file says it has, where it is cut off before. */
  missing: { statedBytes: number; sizeBytes: number } | null;
  /** The file ends where it says: whatever lacks in it was not cut off. */
  endsAsStated: boolean;
};

export type MeasureInput = {
  url: string;
  /** Of a source without an index: its first packets and some later ones, or all that can be read in the time for a probe. */
  extent: "sample" | "whole";
  container: string;
  /** The picture's place among all streams. */
  streamIndex: number;
  /** null: the container does not say. */
  statedSeconds: number | null;
  statedRates: readonly Rational[];
  /** Seconds; ffprobe's, of the picture's clock. */
  tickSeconds: number;
  signal: AbortSignal;
  /** ffprobe's packets of that stream, as lines of PACKET_FIELDS. */
  readPackets: (intervals: string) => Promise<readonly string[]>;
};

/** Two seconds at 30 fps, which tell 29.97 from 30 by clocks of a millisecond. */
const FIRST_PACKETS = 96;
const LATER_PACKETS = 32;
const ALL_PACKETS = 100_000_000;
/** Frames of editing formats are megabytes each, and their containers state one rate for all. */
const FIXED_RATE = /^(mxf|mxf_opatom|gxf|dv|lxf)\b/;
const FIXED_RATE_PACKETS = 16;
/** Matroska has cues once it was finished; then it says how long it is. */
const HAS_CUES = /^(matroska|webm)\b/;
const LATER_WINDOWS_FROM_SECONDS = 10;
/** Some writers of Matroska count a few bytes too many; an upload that breaks off lacks more. */
const SLIGHTLY_SHORT_BYTES = 1024;
/** A length beyond this many times what the bytes suggest is a slip of the writer's. */
const CREDIBLE_TIMES = 3;
/** Sound or subtitles may well outlast a short picture. */
const CREDIBLE_MORE_SECONDS = 600;

const UNKNOWN: PictureMeasure = { timing: null, pictureSeconds: null, statesWrongLength: false };

export async function measureSource(input: MeasureInput): Promise<MeasuredSource> {
  const bytes = await openSourceBytes(input.url, input.signal);
  if (bytes === null) return { ...UNKNOWN, isCounted: false, missing: null, endsAsStated: false };
  const stated = await statedExtentBytes(bytes);
  const { sizeBytes } = bytes;
  const missing =
    stated !== null && stated > sizeBytes + SLIGHTLY_SHORT_BYTES ? { statedBytes: stated, sizeBytes } : null;
  const index = /^mov\b/.test(input.container) ? await readMovieIndex(bytes, input.streamIndex) : null;
  const endsAsStated = stated !== null && Math.abs(stated - sizeBytes) <= SLIGHTLY_SHORT_BYTES;
  if (index !== null) return { ...byIndex(index, input), isCounted: true, missing, endsAsStated };
  return { ...(await byPackets(bytes, input)), missing, endsAsStated };
}

function byIndex({ runs, tickSeconds }: MovieTrack, { statedRates }: MeasureInput): PictureMeasure {
  const timing = frameTiming({ runs, tickSeconds, stated: statedRates });
  if (timing === null) return UNKNOWN;
  // The last frame stands as long as any other: what it says itself is often another length.
  const interval = timing.fps.den / timing.fps.num;
  const spans = runs.map((run) => (run.at(-1) ?? 0) - (run[0] ?? 0) + interval);
  return { timing, pictureSeconds: spans.reduce((sum, span) => sum + span, 0), statesWrongLength: false };
}

async function byPackets(
  source: SourceBytes,
  input: MeasureInput,
): Promise<Omit<MeasuredSource, "missing" | "endsAsStated">> {
  const { container, extent, statedSeconds, statedRates, tickSeconds } = input;
  const sample = FIXED_RATE.test(container) ? FIXED_RATE_PACKETS : FIRST_PACKETS;
  const count = extent === "whole" ? ALL_PACKETS : sample;
  const first = packetsOf(await input.readPackets(`%+#${count}`));
  const isWhole = first.length < count;
  const later =
    !isWhole && HAS_CUES.test(container) && statedSeconds !== null && statedSeconds > LATER_WINDOWS_FROM_SECONDS
      ? packetsOf(await input.readPackets(laterIntervals(statedSeconds)))
      : [];
  const runs = [...runsOf(first, isWhole), ...runsOf(later, false)];
  const clock = tickSeconds >= 0.000_9 ? tickSeconds : 0;
  const timing = frameTiming({ runs, tickSeconds: clock, stated: statedRates });
  return { timing, isCounted: isWhole, ...lengthBy(first, isWhole, source, { ...input, timing }) };
}

function packetsOf(lines: readonly string[]): PacketLine[] {
  return lines.flatMap((line) => readPacketLine(line) ?? []);
}

function laterIntervals(statedSeconds: number): string {
  return [0.5, 0.9].map((share) => `${(statedSeconds * share).toFixed(3)}%+#${LATER_PACKETS}`).join(",");
}

/** Of a whole file exactly; otherwise by how far its first packets reach into its bytes, if what it states is far off. */
function lengthBy(
  first: readonly PacketLine[],
  isWhole: boolean,
  { sizeBytes }: SourceBytes,
  { timing, statedSeconds }: MeasureInput & { timing: FrameTiming | null },
): Omit<PictureMeasure, "timing"> {
  const interval = timing === null ? 0.04 : timing.fps.den / timing.fps.num;
  const read = lengthOfPackets(first, interval);
  if (read <= 0) return { pictureSeconds: null, statesWrongLength: false };
  const reached = Math.max(...first.map(({ position }) => position ?? 0));
  const suggested = isWhole ? Math.max(interval, read) : reached > 0 ? (read * sizeBytes) / reached : null;
  const statesWrongLength =
    statedSeconds !== null && suggested !== null && statedSeconds > CREDIBLE_TIMES * suggested + CREDIBLE_MORE_SECONDS;
  const isNeeded = isWhole || statedSeconds === null || statesWrongLength;
  return { pictureSeconds: isNeeded ? suggested : null, statesWrongLength };
}
