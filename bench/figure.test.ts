import { expect, test } from "vitest";
import { figureOf, median, promiseLine } from "./figure.ts";

test("the median is the middle one, or lies between the two", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([7])).toBe(7);
  expect(() => median([])).toThrow(RangeError);
});

test("a figure's ratio is of what was measured, not of what is shown", () => {
  expect(figureOf("f", 1.00049, 0.00149)).toEqual({ figure: "f", value: 1, baseline: 0.001, ratio: 671.47 });
});

test.each([
  [1.05, { atMost: 1.05 }, "f holds (at most 1.05)"],
  [1.051, { atMost: 1.05 }, "f does not hold (at most 1.05)"],
  [3.5, { atLeast: 3.5 }, "f holds (at least 3.5)"],
  [3.499, { atLeast: 3.5 }, "f does not hold (at least 3.5)"],
])("a ratio of %d, promised %o", (ratio, promised, says) => {
  expect(promiseLine(figureOf("f", ratio, 1), promised)).toBe(says);
});
