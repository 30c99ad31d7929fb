/** The one table of trouble: total, without a word twice, and never misled by what comes from outside. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { AgentProblemCode } from "./agent-protocol.ts";
import { FailureCode, failureFacts } from "./failure.ts";
import { codeOf, failurePolicy, failureSources, isRetryable, judged } from "./failure-policy.ts";

type SourceName = keyof typeof failureSources;
const names = Object.keys(failureSources) as SourceName[];
const rows = names.flatMap((name) =>
  Object.entries(failureSources[name].rows).map(([sign, code]) => ({ name, sign, code })),
);

test("no failure code lacks a policy, a title or advice, and no policy lacks its code", () => {
  expect(Object.keys(failurePolicy).sort()).toEqual([...FailureCode.options].sort());
  fc.assert(
    fc.property(fc.constantFrom(...FailureCode.options), (code) => {
      const { policy, retryable, title, advice } = failureFacts[code];
      expect(["outage", "attempt", "fatal", "stale"]).toContain(policy);
      expect(policy).toBe(failurePolicy[code]);
      expect(retryable).toBe(policy === "outage" || policy === "attempt");
      expect(title.length * advice.length).toBeGreaterThan(0);
    }),
    { numRuns: 500 },
  );
});

test.each(rows)("$name: $sign is $code", ({ name, sign, code }) => {
  expect(FailureCode.options).toContain(code);
  expect(judged(name, sign)).toBe(code);
  expect(codeOf(name, sign as never)).toBe(code);
});

test("a status without a row goes by its hundred, then by what the source says of all others", () => {
  expect(judged("s3Status", 503)).toBe("WASABI_UNAVAILABLE");
  expect(judged("s3Status", 599)).toBe("WASABI_UNAVAILABLE");
  expect(judged("s3Status", 418)).toBe("BAD_REQUEST");
  expect(judged("urlStatus", 502)).toBe("SOURCE_UNREADABLE");
  expect(judged("urlStatus", 403)).toBe("SOURCE_REFUSED");
  expect(judged("agentStatus", 500)).toBe("LUCIDLINK_UNAVAILABLE");
  expect(judged("r2", null)).toBe("R2_UNAVAILABLE");
  expect(judged("r2", "5xxxx")).toBe("R2_UNAVAILABLE");
});

test("whatever sign comes from outside, the answer is a code, or null where another source is asked", () => {
  const signs = fc.oneof(fc.string(), fc.integer(), fc.constantFrom("constructor", "__proto__", "toString", null));
  fc.assert(
    fc.property(fc.constantFrom(...names), signs, (name, sign) => {
      const code = judged(name, sign);
      if (code === null) expect(failureSources[name].otherwise).toBeNull();
      else expect(FailureCode.options).toContain(code);
    }),
  );
});

test("throttling waits, a real refusal does not, and both may come as a 403", () => {
  for (const code of ["RequestRateLimitExceeded", "SlowDown", "ServiceUnavailable", "TooManyRequests"] as const) {
    expect(failurePolicy[codeOf("s3Code", code)]).toBe("outage");
  }
  for (const code of ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket"] as const) {
    expect(failurePolicy[codeOf("s3Code", code)]).toBe("fatal");
  }
  expect(failurePolicy[judged("s3Status", 403)]).toBe("fatal");
});

test("whoever does not answer is tried again, and what the agent cannot fix by itself is an outage of LucidLink", () => {
  for (const code of Object.values(failureSources.silence.rows)) expect(isRetryable(code)).toBe(true);
  for (const code of AgentProblemCode.options.filter((each) => each.startsWith("LUCIDLINK_"))) {
    expect(failurePolicy[code]).toBe("outage");
  }
});

test("every code that the agent's own tables name is one that the agent may name", () => {
  for (const { rows: signs, otherwise } of [failureSources.agentErrno, failureSources.agentSource]) {
    for (const code of [...Object.values(signs), otherwise]) expect(AgentProblemCode.options).toContain(code);
  }
});
