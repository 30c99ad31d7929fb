/** The byte ranges of an original that hold stretches of time, or why it must be read whole. */
import type { WholeBecause } from "../../schemas/original-access.ts";
import { type ReadRange, readMovieIndex } from "./movie-index.ts";
import { type ByteSpan, merged, spansOfTime } from "./sample-span.ts";
import { WholeOnly } from "./whole-reason.ts";

export interface TimeRange {
  startSeconds: number;
  endSeconds: number;
}

export interface OriginalRanges {
  wholeBecause: WholeBecause | null;
  header: ByteSpan[];
  segments: (TimeRange & { ranges: ByteSpan[] })[];
  /** What a reader of all of it reads. */
  grantedBytes: number;
}

const lengthOf = (spans: readonly ByteSpan[]) => spans.reduce((sum, { from, to }) => sum + to - from + 1, 0);

/** @throws what `read` throws */
export async function rangesOfOriginal(
  read: ReadRange,
  sizeBytes: number,
  timeRanges: readonly TimeRange[],
): Promise<OriginalRanges> {
  try {
    if (timeRanges.length === 0) throw new WholeOnly("not-asked", "no time ranges were asked for");
    const { header, tracks } = await readMovieIndex(read, sizeBytes);
    const segments = timeRanges.map((range) => ({ ...range, ranges: spansOfTime(tracks, range, sizeBytes) }));
    const all = merged([...header, ...segments.flatMap(({ ranges }) => ranges)].map((span) => ({ ...span })));
    return { wholeBecause: null, header, segments, grantedBytes: lengthOf(all) };
  } catch (error) {
    if (!(error instanceof WholeOnly)) throw error;
    const everything = { from: 0, to: sizeBytes - 1 };
    const segments = timeRanges.map((range) => ({ ...range, ranges: [everything] }));
    return { wholeBecause: error.reason, header: [], segments, grantedBytes: sizeBytes };
  }
}
