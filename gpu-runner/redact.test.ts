import fc from "fast-check";
import { expect, test } from "vitest";
import { createLog } from "./log.ts";
import { redactor } from "./redact.ts";

const token = "tok-0123456789-secret";

test("presigned query strings, bearer tokens, JWTs and users of URLs go; the rest stays", () => {
  const redact = redactor([token]);
  expect(redact("GET https://s3.example/b/k.mp4?X-Amz-Signature=abc&X-Amz-Date=1: HTTP 403")).toBe(
    "GET https://s3.example/b/k.mp4?[redacted] HTTP 403",
  );
  expect(redact("opening wss://api/v1/runner/jobs/1?asset=2 failed")).toBe(
    "opening wss://api/v1/runner/jobs/1?[redacted] failed",
  );
  expect(redact("Authorization: Bearer abc.def-123")).toBe("Authorization: Bearer [redacted]");
  expect(redact("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln")).toBe("[redacted]");
  expect(redact("http://user:pass@host/x")).toBe("http://[redacted]@host/x");
  expect(redact("frame= 100 fps= 25 speed=1.5x")).toBe("frame= 100 fps= 25 speed=1.5x");
});

test("a log line stays JSON and holds no secret, wherever it was put", () => {
  const lines: string[] = [];
  const log = createLog({
    level: "info",
    redact: redactor([token]),
    beforeLine: () => {},
    write: (line) => lines.push(line),
  });
  const url = "https://s3.example/b/k?X-Amz-Signature=abcdef&X-Amz-Credential=AK";
  const error = new Error(`PUT ${url}`, { cause: new Error(`Bearer ${token}`) });
  log.error({ err: error, nested: { deep: [url, token] } }, `failed at ${url} with ${token}`);
  log.child({ [token]: url }).warn("child");
  const text = lines.join("");
  for (const secret of [token, "abcdef", "X-Amz-Credential=AK"]) expect(text).not.toContain(secret);
  for (const line of lines) expect(JSON.parse(line)).toMatchObject({ msg: expect.any(String) });
});

test("no secret survives, whatever surrounds it, and lines stay parseable", () => {
  const redact = redactor([token]);
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (before, after) => {
      const line = redact(
        JSON.stringify({ msg: `${before}${token}${after}`, url: `https://h/p?sig=${token}${after}` }),
      );
      expect(line).not.toContain(token);
      expect(() => JSON.parse(line)).not.toThrow();
    }),
  );
});
