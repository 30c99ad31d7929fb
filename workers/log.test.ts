import { expect, test } from "vitest";
import { logLine } from "./log.ts";

test("a line is one JSON object without tokens, signatures or presigned queries", () => {
  const error = new Error(
    "GET https://s3.test/bucket/key?X-Amz-Signature=abc123 failed with Bearer eyJhbGciOi.eyJzdWIi.c2ln and whsec_c2VjcmV0",
  );
  const facts = { requestId: "r-1", method: "GET", path: "/v1/status?ticket=one-use" };
  const line = logLine({ event: "request.failed", ...facts, code: "INTERNAL" }, 0, error);
  expect(line).not.toMatch(/abc123|eyJhbGciOi|c2VjcmV0|one-use|\n/);
  expect(JSON.parse(line)).toMatchObject({ level: "error", event: "request.failed", requestId: "r-1" });
});
