import { describe, expect, test } from "vitest";
import { AgentFailure, problemOf } from "./failure.ts";
import { decidePut, ended, recordOf, type TransferRecord, temporaryNamePattern, temporaryPath } from "./record.ts";
import { bytesOf, placeOf } from "./testing/agent-client.ts";

const nowMs = Date.parse("2026-03-01T12:00:00Z");
const request = (url: string, op = 1) => placeOf(bytesOf(10), url, "https://worker.test/callback", { op });
const asked = (url = "https://a.test/1", op = 1) => recordOf("t", request(url, op), nowMs);
const failed = (record: TransferRecord) =>
  ended(record, problemOf(new AgentFailure("SOURCE_EXPIRED", "expired")), nowMs);

describe("what a PUT means", () => {
  const durable = ended(asked(), null, nowMs);
  test.each([
    ["nothing known", asked(), null, null, false, "start"],
    ["under way, the same", asked(), asked(), asked(), false, "answer"],
    ["under way, a fresh URL", asked("https://a.test/2"), asked(), asked(), false, "refresh"],
    ["failed, the same", asked(), failed(asked()), failed(asked()), false, "answer"],
    ["failed, a fresh URL", asked("https://a.test/2"), failed(asked()), failed(asked()), false, "start"],
    ["durable and there", asked("https://a.test/2"), durable, durable, true, "answer"],
    ["durable and gone", asked(), durable, durable, false, "start"],
    ["durable, a newer operation", asked("https://a.test/1", 2), durable, durable, true, "start"],
    [
      "an older operation than the key's",
      asked(),
      null,
      { ...asked("https://a.test/1", 2), id: "u" },
      false,
      "conflict",
    ],
    ["an older operation than its own", asked(), asked("https://a.test/1", 2), null, false, "conflict"],
    ["another identity", asked(), { ...asked(), identity: "0".repeat(64) }, null, false, "conflict"],
  ] as const)("%s", (_name, record, known, holder, present, kind) => {
    expect(decidePut(record, known, holder, present).kind).toBe(kind);
  });
});

test("each end has its own webhook-id, within what a receiver takes", () => {
  const longest = { ...asked(), id: "x".repeat(128) as TransferRecord["id"] };
  const first = failed(longest);
  const second = ended({ ...first, pending: null }, null, nowMs);
  expect(first.pending?.id).not.toBe(second.pending?.id);
  expect(second.pending?.id).toMatch(/^[\x21-\x7e]{1,180}$/);
  expect([first.pending?.body.type, second.pending?.body.type]).toEqual([
    "transfer.source-expired",
    "transfer.durable",
  ]);
});

test("temporary names lie beside the target, are hidden, and are told from media", () => {
  const name = temporaryPath(asked());
  expect(name).toMatch(/^Clients\/acme\/launch\/\.[^/]+$/);
  expect(temporaryNamePattern.test(name.split("/").at(-1) ?? "")).toBe(true);
  expect(temporaryNamePattern.test("0123456789abcdef01234567_1080p.mp4")).toBe(false);
  expect(temporaryNamePattern.test(".DS_Store")).toBe(false);
});
