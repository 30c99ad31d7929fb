import fc from "fast-check";
import { expect, test } from "vitest";
import { type FrameTimes, frameTiming } from "./frame-timing.ts";

const exact = { tickSeconds: 0, stated: [] } as const;
const rateOf = (times: FrameTimes) => {
  const timing = frameTiming(times);
  return timing && { rate: timing.fps.num / timing.fps.den, vfr: timing.vfr };
};
/** Frames of a rate, from a start, each off by what `off` says of its number. */
const frames = (rate: number, count: number, { start = 0, off = (() => 0) as (n: number) => number } = {}) =>
  Float64Array.from({ length: count }, (_, n) => start + n / rate + off(n));
const byMilliseconds = (times: Float64Array) => times.map((at) => Math.round(at * 1000) / 1000);

const anyRate = fc.oneof(
  fc.integer({ min: 1, max: 60 }).map((num) => ({ num, den: 1 })),
  fc.constantFrom(24, 30, 48, 60).map((rate) => ({ num: rate * 1000, den: 1001 })),
);

test("a constant rate is found through a millisecond of jitter, wherever the file begins", () => {
  fc.assert(
    fc.property(
      anyRate,
      fc.double({ min: 0, max: 3600, noNaN: true }),
      fc.array(fc.double({ min: -0.001, max: 0.001, noNaN: true }), { minLength: 300, maxLength: 300 }),
      ({ num, den }, start, jitter) => {
        const run = frames(num / den, 300, { start, off: (n) => jitter[n] ?? 0 });
        const found = rateOf({ ...exact, runs: [run] });
        expect(found?.vfr).toBe(false);
        // Less than half a frame adds up over all of them.
        expect(Math.abs((found?.rate ?? 0) / (num / den) - 1) * 300).toBeLessThan(0.5);
      },
    ),
  );
});

test("an exact clock gives the exact rate", () => {
  fc.assert(
    fc.property(anyRate, fc.integer({ min: 3, max: 500 }), ({ num, den }, count) => {
      expect(frameTiming({ ...exact, runs: [frames(num / den, count)] })).toEqual({ fps: { num, den }, vfr: false });
    }),
  );
});

test.each([
  [30000, 1001],
  [30, 1],
  [60000, 1001],
  [24, 1],
])("a clock of milliseconds tells %i/%i", (num, den) => {
  const runs = [byMilliseconds(frames(num / den, 96))];
  expect(frameTiming({ runs, tickSeconds: 0.001, stated: [] })).toEqual({ fps: { num, den }, vfr: false });
});

test("runs far apart tell rates that one run cannot", () => {
  const run = (start: number) => byMilliseconds(frames(30000 / 1001, 20, { start: (start * 1001) / 30000 }));
  const runs = [run(0), run(1000), run(4333)];
  expect(frameTiming({ runs, tickSeconds: 0.001, stated: [] })).toEqual({ fps: { num: 30000, den: 1001 }, vfr: false });
});

test("a last frame of an odd length, a pause and dropped frames leave the rate as it is", () => {
  const all = frames(30, 300);
  expect(rateOf({ ...exact, runs: [all.map((at, n) => (n === 299 ? at + 0.3 : at))] })).toEqual({
    rate: 30,
    vfr: false,
  });
  expect(rateOf({ ...exact, runs: [all.filter((_, n) => n < 100 || n > 160)] })).toEqual({ rate: 30, vfr: false });
  expect(rateOf({ ...exact, runs: [all.filter((_, n) => n % 25 !== 7)] })).toEqual({ rate: 30, vfr: false });
});

test("a variable rate is that of the shortest interval which is no slip", () => {
  const times: number[] = [];
  let at = 0;
  for (let n = 0; n < 400; n++) {
    times.push(at);
    at += [0.041, 0.127, 0.066, 0.25, 0.183][n % 5] ?? 0;
  }
  expect(rateOf({ ...exact, runs: [Float64Array.from(times)] })).toEqual({ rate: 24.39, vfr: true });
});

test("one frame has no rate", () => {
  expect(frameTiming({ ...exact, runs: [] })).toBeNull();
  expect(frameTiming({ ...exact, runs: [Float64Array.of(1)] })).toBeNull();
});
