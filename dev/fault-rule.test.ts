import { expect, test } from "vitest";
import { answerBytes, concerns, FaultRule, passBeforeCut, throttled } from "./fault-rule.ts";
import { readRequests } from "./http-frame.ts";

function headOf(startLine: string) {
  const [piece] = readRequests().push(Buffer.from(`${startLine}\r\n\r\n`));
  if (piece?.kind !== "head") throw new Error("no head");
  return piece.head;
}

test("a rule with `only` strikes what it names, and never what it cannot tell", () => {
  const rule = FaultRule.parse({ kind: "stall", only: { method: "PUT", targetHas: ["/proxies/", "partNumber="] } });
  expect(concerns(rule, headOf("PUT /proxies/a.mp4?partNumber=3 HTTP/1.1"))).toBe(true);
  expect(concerns(rule, headOf("GET /proxies/a.mp4?partNumber=3 HTTP/1.1"))).toBe(false);
  expect(concerns(rule, headOf("PUT /proxies/a.mp4 HTTP/1.1"))).toBe(false);
  expect(concerns(rule, null)).toBe(false);
  expect(concerns({ kind: "refuse" }, null)).toBe(true);
});

test("the name of an upload that was just created is told late, but never lost", () => {
  const creation = headOf("POST /bucket/proxies/a.mp4?uploads= HTTP/1.1");
  const completion = headOf("POST /bucket/proxies/a.mp4?uploadId=uploads HTTP/1.1");
  const cut = FaultRule.parse({ kind: "cut", after: { share: 1 / 3 } });
  const [stall, lasting] = [false, true].map((lasts) => FaultRule.parse({ kind: "stall", lasting: lasts }));
  const losing = [cut, lasting as FaultRule];
  for (const rule of losing) expect([concerns(rule, creation), concerns(rule, completion)]).toEqual([false, true]);
  expect(concerns(stall as FaultRule, creation)).toBe(true);
});

test("answers are whole messages of the right length", () => {
  for (const answer of ["503", "slow-down", "rate-limit"] as const) {
    const [head = "", body = ""] = answerBytes({ kind: "answer", answer, retryAfterSeconds: 2 })
      .toString()
      .split("\r\n\r\n");
    expect(head).toContain(`content-length: ${body.length}`);
    expect(head).toContain("retry-after: 2");
  }
  const limited = answerBytes({ kind: "answer", answer: "rate-limit" }).toString();
  expect(limited).toMatch(/^HTTP\/1\.1 403 /);
  expect(limited).toContain("<Code>RequestRateLimitExceeded</Code>");
  expect(limited).not.toContain("retry-after");
});

test.each([
  ["a third of 90, before it", { share: 1 / 3 }, { at: 0, count: 29, wholeBytes: 90 }, null],
  ["a third of 90, across it", { share: 1 / 3 }, { at: 20, count: 20, wholeBytes: 90 }, 10],
  ["a third of an unknown length", { share: 1 / 3 }, { at: 0, count: 20, wholeBytes: null }, 0],
  ["10 bytes, past it", { bytes: 10 }, { at: 12, count: 3, wholeBytes: 90 }, 0],
  ["10 bytes of a shorter body", { bytes: 10 }, { at: 0, count: 7, wholeBytes: 7 }, null],
])("cut after %s", (_name, after, body, passing) => {
  expect(passBeforeCut(after, body)).toBe(passing);
});

test("throttled bytes are all there, a beat's worth at a time", () => {
  const { pieces, beatMs } = throttled(Buffer.from("0123456789".repeat(30)), 2_000);
  expect(Buffer.concat(pieces).length).toBe(300);
  expect(pieces.map(({ length }) => length)).toEqual([100, 100, 100]);
  expect(beatMs).toBe(50);
  expect(throttled(Buffer.from("ab"), 1).pieces).toHaveLength(2);
});
