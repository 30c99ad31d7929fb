/**
 * What rate a picture track has, by when its frames are shown and not by what its header states. Pure.
 *
 * A track is constant where its frames lie on a grid, or nearly all of its intervals are alike: clocks of a millisecond
 * round, cameras jitter, and a recorder that drops a frame still has its rate.
 */
import type { Rational } from "../../../schemas/media-probe.ts";

export type FrameTiming = {
  /** Of a variable track: the rate that its shortest usual interval has. */
  fps: Rational;
  vfr: boolean;
};

export type FrameTimes = {
  /** Runs of frames one after another, each in the order in which they are shown, in seconds. */
  runs: readonly Float64Array[];
  /** The interval that nothing but rounding may come from; 0 where the clock is exact. */
  tickSeconds: number;
  /** What the file states: decides only between rates that fit equally well. */
  stated: readonly Rational[];
};

const JITTER_SECONDS = 0.001;
/** Of a track's intervals. A share below these may be dropped frames, a pause, or a last frame of an odd length. */
const NEARLY_ALL = 0.9;
/** A shorter interval than this share of all has is a slip of the recorder's, not a frame to be shown. */
const SLIPS = 0.01;
const SAME_RATE = 0.000_05;

const BROADCAST: readonly Rational[] = [24, 30, 48, 60, 120, 240].map((rate) => ({ num: rate * 1000, den: 1001 }));
const WHOLE: readonly Rational[] = Array.from({ length: 240 }, (_, i) => ({ num: i + 1, den: 1 }));

const rateOf = ({ num, den }: Rational) => num / den;

/** null where fewer than two frames are known. */
export function frameTiming({ runs, tickSeconds, stated }: FrameTimes): FrameTiming | null {
  const intervals = runs.flatMap((run) => intervalsOf(run)).sort((a, b) => a - b);
  const median = intervals[Math.floor(intervals.length / 2)];
  if (median === undefined) return null;
  const slack = JITTER_SECONDS + tickSeconds;
  const gridSeconds = fittedInterval(runs, median);
  const residual = Math.max(...runs.map((run) => residualOf(run, gridSeconds)));
  const alike = shareAlike(intervals, gridSeconds, Math.min(2 * slack, gridSeconds / 4));
  if (residual <= Math.min(slack, gridSeconds / 4) || alike >= NEARLY_ALL) {
    return { fps: nameRate({ runs, tickSeconds, stated }, gridSeconds), vfr: alike < NEARLY_ALL };
  }
  const shortest = intervals[Math.floor(intervals.length * SLIPS)] ?? median;
  return { fps: nearestWhole(1 / shortest, tickSeconds / shortest), vfr: true };
}

function intervalsOf(run: Float64Array): number[] {
  const intervals: number[] = [];
  for (let i = 1; i < run.length; i++) {
    const interval = (run[i] ?? 0) - (run[i - 1] ?? 0);
    if (interval > 0) intervals.push(interval);
  }
  return intervals;
}

/** Least squares of time over frame number, in which a dropped frame counts as one; each run begins where it likes. */
function fittedInterval(runs: readonly Float64Array[], guess: number): number {
  let interval = guess;
  for (let round = 0; round < 3; round++) {
    let [product, square] = [0, 0];
    for (const run of runs) {
      const numbers = numbersOf(run, interval);
      const meanNumber = mean(numbers);
      const meanTime = mean(run);
      for (const [i, number] of numbers.entries()) {
        product += (number - meanNumber) * ((run[i] ?? 0) - meanTime);
        square += (number - meanNumber) ** 2;
      }
    }
    if (square === 0) return guess;
    interval = product / square;
  }
  return interval;
}

/** Step by step, so that a rate that is slightly off does not add up to a frame. */
function numbersOf(run: Float64Array, interval: number): Float64Array {
  const numbers = new Float64Array(run.length);
  for (let i = 1; i < run.length; i++) {
    const steps = Math.round(((run[i] ?? 0) - (run[i - 1] ?? 0)) / interval);
    numbers[i] = (numbers[i - 1] ?? 0) + Math.max(1, steps);
  }
  return numbers;
}

/** How far a frame is from its place on the grid at most. */
function residualOf(run: Float64Array, interval: number): number {
  const numbers = numbersOf(run, interval);
  let [least, greatest] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const [i, number] of numbers.entries()) {
    const off = (run[i] ?? 0) - number * interval;
    least = Math.min(least, off);
    greatest = Math.max(greatest, off);
  }
  return run.length === 0 ? 0 : (greatest - least) / 2;
}

function shareAlike(intervals: readonly number[], interval: number, slack: number): number {
  return intervals.filter((each) => Math.abs(each - interval) <= slack).length / intervals.length;
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

/** The rate as people write it, where the times allow it: 30000/1001 rather than 29.9698. */
function nameRate({ runs, tickSeconds, stated }: FrameTimes, interval: number): Rational {
  const rate = 1 / interval;
  const longest = Math.max(...runs.map((run) => (run.at(-1) ?? 0) - (run[0] ?? 0)));
  // What rounding and jitter may make of the slope: a clip of a second does not tell 29.97 from 30 by a tick of 33 ms.
  const doubt = Math.max(SAME_RATE, (tickSeconds > 0 ? tickSeconds : JITTER_SECONDS / 4) / Math.max(longest, interval));
  const off = (named: Rational) => Math.abs(rateOf(named) / rate - 1);
  const fitting = [...BROADCAST, ...WHOLE, ...stated].filter((named) => off(named) <= doubt);
  const together = fitting.filter((named) => fitsTogether(runs, 1 / rateOf(named), JITTER_SECONDS + tickSeconds));
  const candidates = together.length > 0 ? together : fitting;
  const isStated = (named: Rational) => stated.some((each) => Math.abs(rateOf(each) / rateOf(named) - 1) < SAME_RATE);
  const [best] = candidates.toSorted((a, b) => Number(isStated(b)) - Number(isStated(a)) || off(a) - off(b));
  if (best !== undefined) return best;
  return reduce(Math.round(rate * 10_000), 10_000);
}

/** Whether runs that lie far apart lie on one grid: 29.97 and 30 are half a frame apart after 17 seconds. */
function fitsTogether(runs: readonly Float64Array[], interval: number, slack: number): boolean {
  const start = runs[0]?.[0] ?? 0;
  const offsets = runs.flatMap((run) => {
    const at = run[0];
    if (at === undefined) return [];
    const off = (at - start) / interval;
    return [(off - Math.round(off)) * interval];
  });
  return offsets.every((off) => Math.abs(off) <= 2 * slack);
}

function nearestWhole(rate: number, doubt: number): Rational {
  const off = (named: Rational) => Math.abs(rateOf(named) / rate - 1);
  const [nearest] = [...BROADCAST, ...WHOLE].toSorted((a, b) => off(a) - off(b));
  if (nearest !== undefined && off(nearest) <= Math.max(doubt, 0.005)) return nearest;
  return reduce(Math.max(1, Math.round(rate * 1000)), 1000);
}

function reduce(num: number, den: number): Rational {
  let [a, b] = [num, den];
  while (b > 0) [a, b] = [b, a % b];
  return { num: num / a, den: den / a };
}
