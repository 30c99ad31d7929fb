import { expect, test } from "vitest";
import { assetsInARow, nextShutOut, nextStreak, reasonToStop, reasonToWait } from "./failure-streak.ts";
import type { JobOutcome } from "./run-job.ts";
import { done, failedWith } from "./testing/loop-options.ts";

test("neither one bad asset, nor bad files, nor a success in between make a runner unfit", () => {
  const streakOf = (steps: [fileId: string, outcome: JobOutcome][]) =>
    steps.reduce((streak, [fileId, outcome]) => nextStreak(streak, fileId, outcome), nextStreak([], "", done));
  const encoder = failedWith("ENCODER_FAILED");
  const sameAsset = Array.from({ length: 9 }, (): [string, JobOutcome] => ["a", encoder]);
  expect(reasonToStop(streakOf(sameAsset))).toBeNull();
  const badFiles = ["a", "b", "c", "d"].map((id): [string, JobOutcome] => [id, failedWith("INVALID_MEDIA")]);
  expect(reasonToStop(streakOf(badFiles))).toBeNull();
  expect(
    reasonToStop(
      streakOf([
        ["a", encoder],
        ["b", encoder],
        ["c", done],
        ["d", encoder],
      ]),
    ),
  ).toBeNull();
  const bad = streakOf([
    ["a", encoder],
    ["b", encoder],
    ["x", failedWith("INVALID_MEDIA")],
    ["c", encoder],
  ]);
  expect(bad).toHaveLength(assetsInARow);
  expect(reasonToStop(bad)).toMatch(/a, b, c/);
});

test("one asset that is refused again and again says nothing of the store", () => {
  const forbidden = failedWith("WASABI_FORBIDDEN");
  const same = nextShutOut(nextShutOut([], "a", forbidden), "a", forbidden);
  expect(reasonToWait(same)).toBeNull();
  expect(reasonToWait(nextShutOut(same, "b", failedWith("INVALID_MEDIA")))).toBeNull();
  expect(reasonToWait(nextShutOut(same, "b", forbidden))).not.toBeNull();
  expect(reasonToWait(nextShutOut(nextShutOut(same, "c", done), "b", forbidden))).toBeNull();
});
