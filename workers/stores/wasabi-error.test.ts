import { expect, test } from "vitest";
import { retryAfterMs } from "./store-failure.ts";
import { classifyWasabiError, errorCode } from "./wasabi-error.ts";

const body = (code: string) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>said so</Message><RequestId>1</RequestId></Error>`;

test.each([
  [503, "SlowDown", "WASABI_UNAVAILABLE", true],
  [503, null, "WASABI_UNAVAILABLE", true],
  [500, "InternalError", "WASABI_UNAVAILABLE", true],
  [403, "RequestRateLimitExceeded", "WASABI_UNAVAILABLE", true],
  [403, "AccessDenied", "WASABI_FORBIDDEN", false],
  [403, null, "WASABI_FORBIDDEN", false],
  [404, "NoSuchKey", "ORIGINAL_MISSING", true],
  [404, "NoSuchBucket", "WASABI_FORBIDDEN", false],
  [404, "NoSuchUpload", "UPLOAD_LOST", false],
  [412, "PreconditionFailed", "ETAG_MISMATCH", true],
  [412, null, "ETAG_MISMATCH", true],
  [416, "InvalidRange", "RANGE_NOT_SATISFIABLE", false],
] as const)("%i %s is %s, retryable: %s", (status, code, expected, retryable) => {
  const read = code === null ? null : errorCode(body(code));
  expect(read).toBe(code);
  const failure = classifyWasabiError("a PUT", { status, code: read, retryAfterMs: 2_000 });
  expect(failure).toMatchObject({ code: expected, retryable, retryAfterMs: 2_000 });
});

test("bodies that are not S3 errors have no code", () => {
  for (const text of ["", "<html><body>502</body></html>", "{}", "<Error>", "<Error><Code></Code></Error>"]) {
    expect(errorCode(text)).toBeNull();
  }
});

test("Retry-After is read as seconds or a date, never beyond an hour", () => {
  const nowMs = Date.UTC(2026, 0, 1);
  const read = (value: string) => retryAfterMs(new Headers({ "retry-after": value }), nowMs);
  expect(read("7")).toBe(7_000);
  expect(read("Thu, 01 Jan 2026 00:00:30 GMT")).toBe(30_000);
  expect(read("Wed, 31 Dec 2025 00:00:00 GMT")).toBe(0);
  expect(read("999999")).toBe(3_600_000);
  expect(read("soon")).toBeNull();
});
