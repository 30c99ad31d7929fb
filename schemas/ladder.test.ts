import { expect, test } from "vitest";
import { defaultLadder, LadderPolicy, type Rung } from "./ladder.ts";
import { Policy } from "./policy.ts";

const [low, middle, high] = defaultLadder.rungs as [Rung, Rung, Rung];

test("a deployment changes one field and keeps the rest", () => {
  const { ladder } = Policy.parse({ ladder: { keyframeSeconds: 1 } });
  expect(ladder).toEqual({ ...defaultLadder, keyframeSeconds: 1 });
  expect(Policy.parse({}).ladder).toEqual(defaultLadder);
});

test("a deployment's own rungs stand in for all of the default ones", () => {
  expect(Policy.parse({ ladder: { rungs: [low, high] } }).ladder.rungs).toEqual([low, high]);
});

test.each<[string, object]>([
  ["rungs", { rungs: [] }],
  ["rungs.1.quality", { rungs: [low, { ...middle, quality: low.quality }] }],
  ["rungs.1.shortSidePx", { rungs: [low, { ...middle, shortSidePx: 360 }] }],
  ["rungs.1.maxRateBps", { rungs: [middle, { ...high, maxRateBps: 1_000_000 }] }],
  ["rungs.0.crf", { rungs: [{ ...low, crf: 52 }] }],
  ["rungs.0.maxRateBps", { rungs: [{ ...low, maxRateBps: 800 }] }],
  ["rungs.0.quality", { rungs: [{ ...low, quality: "480p" }] }],
  ["rungs.0", { rungs: [{ ...low, bitrate: 1 }] }],
  ["audioBitrateBps", { audioBitrateBps: 1 }],
  ["keyframeSeconds", { keyframeSeconds: 0 }],
  ["maxFps", { maxFps: 0 }],
  ["maxLongSidePx", { maxLongSidePx: 100 }],
  ["partSizeBytes", { partSizeBytes: 1024 ** 2 }],
])("a wrong ladder is refused by the name of its field: %s", (field, ladder) => {
  const paths = LadderPolicy.safeParse(ladder).error?.issues.map(({ path }) => path.join("."));
  expect(paths).toEqual([field]);
});
