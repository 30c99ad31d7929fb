import { expect, test } from "vitest";
import { parseRange } from "./range-server.ts";

test.each([
  ["bytes=0-", 10, { from: 0, to: 9 }],
  ["bytes=3-100", 10, { from: 3, to: 9 }],
  ["bytes=-3", 10, { from: 7, to: 9 }],
  ["bytes=10-", 10, "unsatisfiable"],
  ["bytes=5-4", 10, "unsatisfiable"],
  ["bytes=-", 10, null],
  ["bytes=0-1,3-4", 10, null],
  [undefined, 10, null],
])("range %s of %i bytes", (header, size, expected) => {
  expect(parseRange(header, size)).toEqual(expected);
});
