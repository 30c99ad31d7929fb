import { expect, test } from "vitest";
import { leaveToOthers, nextOwnFailures, type OwnFailures, restPolls } from "./own-failure.ts";
import { done, failedWith } from "./testing/loop-options.ts";

const none: OwnFailures = new Map();
const job = (generation: number, fileId = "a") => ({ fileId, generation });
const failed = nextOwnFailures(none, job(1), failedWith("ENCODER_FAILED"));

/** What the runner does with each delivery of a message, in turn: for how many polls it rests; null: it takes it. */
function turns(own: OwnFailures, messages: { generation: number; deliveries: number }[]): (number | null)[] {
  let now = own;
  return messages.map(({ generation, deliveries }) => {
    const left = leaveToOthers(now, job(generation), deliveries);
    now = left?.own ?? now;
    return left?.polls ?? null;
  });
}

const delivered = (generation: number, ...deliveries: number[]) =>
  deliveries.map((times) => ({ generation, deliveries: times }));

test("an asset that failed here is left to others, longer each time, and then taken", () => {
  expect(turns(failed, delivered(2, 1, 2, 3))).toEqual([...restPolls, null]);
  const again = nextOwnFailures(failed, job(2), failedWith("OUTPUT_INCOMPLETE"));
  expect(turns(again, delivered(3, 1, 2, 3))).toEqual([...restPolls, null]);
});

test("announced again meanwhile, it is not left any longer", () => {
  expect(turns(failed, [...delivered(2, 1), ...delivered(2, 1), ...delivered(2, 2)])).toEqual([...restPolls, null]);
});

test("a message that others gave back as often is taken before its queue takes it for dead", () => {
  expect(leaveToOthers(failed, job(2), restPolls.length + 1)).toBeNull();
});

test("a stale message, of the try that failed or before it, is not kept in the queue", () => {
  expect(turns(failed, delivered(1, 1))).toEqual([null]);
});

test("other assets are taken, and so are those that failed for reasons that lie elsewhere", () => {
  expect(leaveToOthers(failed, job(2, "b"), 1)).toBeNull();
  for (const code of ["WASABI_UNAVAILABLE", "INVALID_MEDIA", "WASABI_FORBIDDEN"] as const) {
    expect(leaveToOthers(nextOwnFailures(none, job(1), failedWith(code)), job(2), 1), code).toBeNull();
  }
  expect(leaveToOthers(nextOwnFailures(none, job(1), { type: "released" }), job(2), 1)).toBeNull();
});

test("once it went well here, it is an asset like any other; what became of it without an end changes nothing", () => {
  expect(leaveToOthers(nextOwnFailures(failed, job(2), done), job(3), 1)).toBeNull();
  expect(nextOwnFailures(failed, job(2), { type: "refused", reason: "stale" })).toBe(failed);
});

test("the assets of a long life are not all remembered", () => {
  let own = failed;
  for (let n = 0; n < 1_000; n++) own = nextOwnFailures(own, job(1, `asset-${n}`), failedWith("RUNNER_FAILED"));
  expect(own.size).toBeLessThan(100);
  expect(leaveToOthers(own, job(2, "asset-999"), 1)).not.toBeNull();
});
