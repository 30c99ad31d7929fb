import { expect, test } from "vitest";
import { parseRange, spanOf } from "./byte-range.ts";

const size = 1000;

test.each([
  [null, { from: 0, to: 999 }],
  ["bytes=0-", { from: 0, to: 999 }],
  ["bytes=0-0", { from: 0, to: 0 }],
  ["bytes=10-19", { from: 10, to: 19 }],
  ["BYTES=10-19", { from: 10, to: 19 }],
  ["bytes=990-5000", { from: 990, to: 999 }],
  ["bytes=999-", { from: 999, to: 999 }],
  ["bytes=-1", { from: 999, to: 999 }],
  ["bytes=-5000", { from: 0, to: 999 }],
  ["bytes=5-99999999999999999999", { from: 5, to: 999 }],
  ["bytes=1000-", null],
  ["bytes=1000-1001", null],
  ["bytes=99999999999999999999-", null],
  ["bytes=-0", null],
  ["bytes=0-1,5-6", { from: 0, to: 999 }],
  ["bytes=9-3", { from: 0, to: 999 }],
  ["bytes=-", { from: 0, to: 999 }],
  ["bytes=a-b", { from: 0, to: 999 }],
  ["items=0-1", { from: 0, to: 999 }],
])("Range %s of 1000 bytes", (header, span) => {
  expect(spanOf(parseRange(header), size)).toEqual(span);
});
