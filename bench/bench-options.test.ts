import { expect, test } from "vitest";
import { wholeNumbers } from "./bench-options.ts";

const read = (...args: string[]) =>
  wholeNumbers(args, { runs: { most: 99, unless: 3 }, rows: { least: 10, most: 1_000, unless: 100 } });

test("what is told is taken, and the rest is as it is unless told", () => {
  expect(read()).toEqual({ runs: 3, rows: 100 });
  expect(read("--runs", "99", "--rows=10")).toEqual({ runs: 99, rows: 10 });
});

test.each([
  [["--runs", "0"], "--runs takes a whole number from 1 to 99, not 0."],
  [["--runs", "100"], "--runs takes a whole number from 1 to 99, not 100."],
  [["--runs", "1.5"], "--runs takes a whole number from 1 to 99, not 1.5."],
  [["--runs", "many"], "--runs takes a whole number from 1 to 99, not many."],
  [["--rows", "9"], "--rows takes a whole number from 10 to 1000, not 9."],
  [["--run", "1"], "--run"],
])("%j is refused", (args, says) => {
  expect(() => read(...args)).toThrow(says);
});
