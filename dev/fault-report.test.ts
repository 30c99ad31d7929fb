import { expect, test } from "vitest";
import type { Strike } from "./fault-plan.ts";
import { coverageTables } from "./fault-report.ts";

const strike = (phase: Strike["phase"], fault: Strike["fault"]): Strike => ({
  phase,
  fault,
  forMs: 1_000,
  holdBefore: false,
});

test("what has struck is counted by fault, by link and by phase; what has not is told and not counted", () => {
  const cut = strike("uploading", { kind: "link", link: "runner-wasabi", fault: "cut" });
  const kill = strike("idle", { kind: "kill", victim: "worker" });
  const text = coverageTables(
    [
      { strike: cut, struck: true },
      { strike: cut, struck: true },
      { strike: cut, struck: false },
      { strike: kill, struck: true },
    ],
    200,
  ).join("\n");
  expect(text).toMatch(/^cut( +·){4} +2( +·){6}$/m);
  expect(text).toMatch(/^kill -9 worker( +·){10} +1$/m);
  expect(text).toMatch(/^runner-wasabi( +·){4} +2 +/m);
  expect(text).toContain("1 fault could not strike");
});
