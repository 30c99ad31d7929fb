import { expect, test } from "vitest";
import { lagMs, matchFrames, rateOf, readLevels, readLikeness } from "./source-compare.ts";

const every = (seconds: number, count: number, from = 0) => Array.from({ length: count }, (_, n) => from + n * seconds);

test("a late start is no fault, a doubled frame and a lost one are", () => {
  expect(matchFrames(every(0.04, 10, 3), every(0.04, 10), 0.02)).toMatchObject({ missing: 0, repeated: 0 });
  expect(matchFrames(every(0.04, 10), every(0.02, 20), 0.02)).toMatchObject({ missing: 0, repeated: 10 });
  expect(matchFrames(every(0.04, 10), every(0.04, 9), 0.02)).toMatchObject({ missing: 1, repeated: 0 });
});

test("thirty frames a second in whole milliseconds are constant", () => {
  const rounded = every(1 / 30, 90).map((at) => Math.round(at * 1000) / 1000);
  const { constant, medianFps } = rateOf(rounded);
  expect(constant).toBe(true);
  expect(medianFps).toBeCloseTo(30, 1);
  expect(rateOf([...every(0.04, 50), ...every(0.1, 20, 2.1)]).constant).toBe(false);
});

test("a sound that is heard 40 ms later is found", () => {
  const before = Float32Array.from({ length: 4000 }, (_, i) => (Math.floor(i / 300) % 3 === 0 ? 0.5 : 0.01));
  const after = Float32Array.from({ length: 4040 }, (_, i) => before[i - 40] ?? 0);
  expect(lagMs(before, after, 0, 4000)).toBe(40);
  expect(lagMs(new Float32Array(4000).fill(0.5), after, 0, 4000)).toBeNull();
});

test("ffmpeg's reports are read", () => {
  const astats =
    "[x] Channel: 1\n[x] Peak level dB: -3.5\n[x] RMS level dB: -9\n[x] RMS peak dB: -inf\n[x] Overall\n[x] Peak level dB: 0";
  expect(readLevels(astats)).toEqual([{ peakDb: -3.5, rmsDb: Number.NEGATIVE_INFINITY }]);
  const report = "PSNR y:40 u:41 v:42 average:41.2 min:39.1 max:inf\nSSIM Y:0.99 (20) U:1 V:1 All:0.992 (21)";
  expect(readLikeness(report)).toEqual({ psnrDb: 41.2, worstPsnrDb: 39.1, ssim: 0.992 });
});
