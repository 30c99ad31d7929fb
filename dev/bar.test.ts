import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import { expect, test } from "vitest";
import { barGlyphs, formatDuration, formatPercent, formatSize, renderBar } from "./bar.ts";

test("a bar fills by half columns, and is full only when done", () => {
  expect(barGlyphs(0, 4)).toEqual({ filled: "", rest: "────" });
  expect(barGlyphs(0.125, 4)).toEqual({ filled: "╸", rest: "───" });
  expect(barGlyphs(0.5, 4)).toEqual({ filled: "━━", rest: "──" });
  expect(barGlyphs(0.999, 4)).toEqual({ filled: "━━━╸", rest: "" });
  expect(barGlyphs(1, 4)).toEqual({ filled: "━━━━", rest: "" });
});

test("whatever the fraction, a bar has its columns", () => {
  fc.assert(
    fc.property(fc.double(), fc.integer({ min: 1, max: 60 }), (fraction, columns) => {
      expect(stripVTControlCharacters(renderBar(fraction, columns))).toHaveLength(columns);
    }),
  );
});

test("sizes, times and percentages read at a glance", () => {
  expect([0, 999, 1_000, 2_767_500, 99_949_999, 99_950_000, 999_600_000, 5e12].map(formatSize)).toEqual([
    "0 B",
    "999 B",
    "1.0 kB",
    "2.8 MB",
    "99.9 MB",
    "100 MB",
    "1.0 GB",
    "5.0 TB",
  ]);
  expect([0, 9_940, 9_960, 59_400, 59_600, 185_000, 3_720_000].map(formatDuration)).toEqual([
    "0.0 s",
    "9.9 s",
    "10 s",
    "59 s",
    "1 min 00 s",
    "3 min 05 s",
    "1 h 02 min",
  ]);
  expect([-1, 0.999, 1, 2].map(formatPercent)).toEqual(["0 %", "99 %", "100 %", "100 %"]);
});
