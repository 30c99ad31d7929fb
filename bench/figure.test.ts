import { expect, test } from "vitest";
import { figureOf, median } from "./figure.ts";

test("the median is the middle one, or lies between the two", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([7])).toBe(7);
  expect(() => median([])).toThrow(RangeError);
});

test("a figure's ratio is of what was measured, not of what is shown", () => {
  expect(figureOf("f", 1.00049, 0.00149)).toEqual({ figure: "f", value: 1, baseline: 0.001, ratio: 671.47 });
});
