import { expect, test } from "vitest";
import { failureSources, isRetryable } from "../../schemas/failure-policy.ts";
import { retryAfterMs } from "./store-failure.ts";
import { classifyWasabiError, errorCode } from "./wasabi-error.ts";

const body = (code: string) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>said so</Message><RequestId>1</RequestId></Error>`;

test.each(Object.entries(failureSources.s3Code.rows))(
  "the XML code %s is %s, whatever the status",
  (code, expected) => {
    for (const status of [200, 400, 403, 500]) {
      const read = errorCode(body(code));
      expect(read).toBe(code);
      const failure = classifyWasabiError("a PUT", { status, code: read, retryAfterMs: 2_000 });
      expect(failure).toMatchObject({ code: expected, retryable: isRetryable(expected), retryAfterMs: 2_000 });
    }
  },
);

test.each([
  [503, null, "WASABI_UNAVAILABLE", true],
  [507, "SomethingNew", "WASABI_UNAVAILABLE", true],
  [429, null, "WASABI_UNAVAILABLE", true],
  [408, null, "WASABI_UNAVAILABLE", true],
  [301, null, "WASABI_FORBIDDEN", false],
  [401, null, "WASABI_FORBIDDEN", false],
  [403, null, "WASABI_FORBIDDEN", false],
  [403, "SomethingNew", "WASABI_FORBIDDEN", false],
  [404, null, "WASABI_UNAVAILABLE", true],
  [412, null, "ETAG_MISMATCH", true],
  [416, null, "RANGE_NOT_SATISFIABLE", false],
  [400, null, "BAD_REQUEST", false],
  [400, "constructor", "BAD_REQUEST", false],
] as const)("%i with %s is %s, retryable: %s", (status, code, expected, retryable) => {
  const failure = classifyWasabiError("a PUT", { status, code, retryAfterMs: null });
  expect(failure).toMatchObject({ code: expected, retryable, retryAfterMs: null });
});

test("whoever is refused is told to check the keys; whoever is throttled is not", () => {
  const told = (code: string) => classifyWasabiError("a PUT", { status: 403, code, retryAfterMs: null }).message;
  expect(told("AccessDenied")).toBe(
    "Wasabi answered 403 AccessDenied to a PUT. Check the keys, the bucket and its policy.",
  );
  expect(told("RequestRateLimitExceeded")).toBe("Wasabi answered 403 RequestRateLimitExceeded to a PUT.");
});

test("a bucket that is not there is named", () => {
  const answer = { status: 404, code: "NoSuchBucket", bucket: "archive", retryAfterMs: null };
  const { code, message } = classifyWasabiError("a HEAD", answer);
  expect([code, message]).toEqual(["WASABI_FORBIDDEN", expect.stringContaining('no bucket "archive"')]);
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
