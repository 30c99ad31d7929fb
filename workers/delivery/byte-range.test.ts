import { expect, test } from "vitest";
import { matchesEtag, parseRange, rangeOfRequest, spanOf } from "./byte-range.ts";

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

test("an If-Range that does not hold asks for the whole file", () => {
  const asked = (ifRange: string) => rangeOfRequest(new Headers({ range: "bytes=1-2", "if-range": ifRange }), '"a"');
  expect(asked('"a"')).toEqual({ kind: "from", first: 1, last: 2 });
  expect(asked('"b"')).toEqual({ kind: "whole" });
  expect(asked('W/"a"')).toEqual({ kind: "whole" });
  expect(asked("Wed, 21 Oct 2015 07:28:00 GMT")).toEqual({ kind: "whole" });
});

test.each([
  [null, false],
  ['"a"', true],
  ['W/"a"', true],
  ['"x", "a"', true],
  ["*", true],
  ['"b"', false],
])("If-None-Match %s", (header, matches) => {
  expect(matchesEtag(header, '"a"')).toBe(matches);
});
