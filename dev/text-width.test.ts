import fc from "fast-check";
import { expect, test } from "vitest";
import { padEnd, padStart, shorten, textWidth } from "./text-width.ts";

test("colour codes and marks take no columns, CJK and emoji take two", () => {
  expect(textWidth("plain")).toBe(5);
  expect(textWidth("\u001b[32mgreen\u001b[39m")).toBe(5);
  expect(textWidth("日本")).toBe(4);
  expect(textWidth("🎬")).toBe(2);
  expect(textWidth("e\u0301")).toBe(1);
});

test("a shortened text keeps both ends", () => {
  expect(shorten("originals/demo/clip.mov", 11)).toBe("origi…p.mov");
  expect(shorten("short", 5)).toBe("short");
  expect(shorten("日本語のファイル.mov", 9)).toBe("日本….mov");
});

test("whatever the text, shortening and padding give the columns asked for", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 0, max: 40 }), (text, columns) => {
      const short = shorten(text, columns);
      expect(textWidth(short)).toBeLessThanOrEqual(columns);
      expect(textWidth(padEnd(short, columns))).toBe(columns);
      expect(textWidth(padStart(short, columns))).toBe(columns);
    }),
  );
});
