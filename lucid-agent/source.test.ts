import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { AgentFailure } from "./failure.ts";
import { readSource, refusalOf, SourceInterrupted } from "./source.ts";
import { startOrigin } from "./testing/origin-server.ts";

const range = { url: "https://a.test/x", etag: '"e"', from: 10, sizeBytes: 100 };
const good = { "content-range": "bytes 10-99/100", etag: '"e"' };

test("only exactly the range asked for, of the pinned object, is read", () => {
  expect(refusalOf(206, new Headers(good), "", range)).toBeNull();
});

test.each([
  ["packed", gzipSync("the bytes of a proxy")],
  ["not packed at all", Buffer.from("the bytes of a proxy")],
])("bytes that are labelled as packed, and are %s, come as they are stored", async (_name, bytes) => {
  const origin = await startOrigin(bytes);
  onTestFinished(() => origin.stop());
  origin.contentEncoding = "gzip";
  const wanted = { url: origin.url, etag: '"abc123"', from: 5, sizeBytes: bytes.length };
  const chunks: Uint8Array[] = [];
  const signal = new AbortController().signal;
  for await (const chunk of readSource(wanted, { answerMs: 5_000, idleMs: 5_000 }, signal)) chunks.push(chunk);
  expect(Buffer.concat(chunks)).toEqual(bytes.subarray(5));
});

test.each([
  [206, {}, "", "SOURCE_UNREADABLE"],
  [206, { ...good, "content-range": "bytes 0-99/100" }, "", "SOURCE_UNREADABLE"],
  [206, { ...good, "content-range": "bytes 10-98/100" }, "", "SOURCE_UNREADABLE"],
  [206, { ...good, "content-range": "bytes 10-99/*" }, "", "SOURCE_UNREADABLE"],
  [206, { ...good, "content-range": "bytes 10-99/200" }, "", "SIZE_MISMATCH"],
  [206, { ...good, etag: '"f"' }, "", "ETAG_MISMATCH"],
  [200, {}, "", "SOURCE_UNREADABLE"],
  [302, {}, "", "SOURCE_UNREADABLE"],
  [400, {}, "<Code>ExpiredToken</Code>", "SOURCE_EXPIRED"],
  [403, {}, "<Message>Request has expired</Message>", "SOURCE_EXPIRED"],
  [404, {}, "", "SOURCE_UNREADABLE"],
  [412, {}, "", "ETAG_MISMATCH"],
  [416, {}, "", "SIZE_MISMATCH"],
])("%i %o %s is %s", (status, headers, body, code) => {
  const refusal = refusalOf(status, new Headers(headers as Record<string, string>), body, range);
  expect(refusal).toBeInstanceOf(AgentFailure);
  expect(refusal).toMatchObject({ code });
});

test.each([
  [429, "", 7_000],
  [503, "<Code>SlowDown</Code>", 7_000],
  [403, "<Code>RequestRateLimitExceeded</Code>", 7_000],
])("%i %s waits as long as it is told, and is tried again", (status, body, retryAfterMs) => {
  const refusal = refusalOf(status, new Headers({ "retry-after": "7" }), body, range);
  expect(refusal).toBeInstanceOf(SourceInterrupted);
  expect(refusal).toMatchObject({ retryAfterMs });
});
