import { expect, test } from "vitest";
import { ifRange, judge, type Validators } from "./precondition.ts";

const lastModified = new Date("2026-11-25T10:00:00.700Z");
const same = "Wed, 25 Nov 2026 10:00:00 GMT";
const before = "Wed, 25 Nov 2026 09:59:59 GMT";
const after = "Wed, 25 Nov 2026 10:00:01 GMT";
const file: Validators = { etag: '"a"', lastModified };

const conditions: readonly (readonly [headers: Record<string, string>, verdict: string])[] = [
  [{}, "proceed"],
  [{ "if-none-match": '"a"' }, "not-modified"],
  [{ "if-none-match": 'W/"a"' }, "not-modified"],
  [{ "if-none-match": '"x", "a"' }, "not-modified"],
  [{ "if-none-match": "*" }, "not-modified"],
  [{ "if-none-match": '"b"' }, "proceed"],
  [{ "if-modified-since": same }, "not-modified"],
  [{ "if-modified-since": after }, "not-modified"],
  [{ "if-modified-since": before }, "proceed"],
  [{ "if-modified-since": "yesterday" }, "proceed"],
  [{ "if-none-match": '"b"', "if-modified-since": after }, "proceed"],
  [{ "if-match": '"a"' }, "proceed"],
  [{ "if-match": "*" }, "proceed"],
  [{ "if-match": '"b"' }, "failed"],
  [{ "if-match": 'W/"a"' }, "failed"],
  [{ "if-unmodified-since": same }, "proceed"],
  [{ "if-unmodified-since": before }, "failed"],
  [{ "if-unmodified-since": "yesterday" }, "proceed"],
  [{ "if-match": '"a"', "if-unmodified-since": before }, "proceed"],
  [{ "if-match": '"b"', "if-none-match": '"a"' }, "failed"],
  [{ "if-unmodified-since": before, "if-none-match": '"a"' }, "failed"],
];

test.each(conditions)("%o: %s", (headers, verdict) => {
  expect(judge(new Headers(headers), file)).toBe(verdict);
});

test("a tier that tells no date has conditions on dates ignored; before it is read, they are left open", () => {
  for (const unknown of [null, undefined]) {
    for (const headers of [{ "if-modified-since": after }, { "if-unmodified-since": before }]) {
      expect(judge(new Headers(headers), { etag: '"a"', lastModified: unknown })).toBe("proceed");
    }
  }
  const both = new Headers({ "if-unmodified-since": before, "if-none-match": '"a"' });
  expect(judge(both, { etag: '"a"', lastModified: null })).toBe("not-modified");
  expect(judge(both, { etag: '"a"', lastModified: undefined })).toBe("proceed");
});

test.each([
  ['"a"', "holds"],
  ['"b"', "fails"],
  ['W/"a"', "fails"],
  [same, "holds"],
  [before, "fails"],
  [after, "fails"],
  ["yesterday", "fails"],
])("If-Range %s %s", (condition, verdict) => {
  const headers = new Headers({ "if-range": condition });
  expect(ifRange(headers, file)).toBe(verdict);
  const isDate = condition.endsWith("GMT");
  expect(ifRange(headers, { etag: '"a"', lastModified: undefined })).toBe(isDate ? "unread" : verdict);
  expect(ifRange(headers, { etag: '"a"', lastModified: null })).toBe(isDate ? "fails" : verdict);
});
