/** Of a source at any constant rate, however its container spells the times: each frame comes out once, in its time. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ConstantSource, constantSource, MOVIES, RATES, shapesOf } from "./testing/constant-source.ts";
import { lacking, type Need } from "./testing/ffmpeg-ability.ts";
import { binaries, clip, make, qualities, useJobBench } from "./testing/job-bench.ts";
import { lookAt } from "./testing/rendition-look.ts";
import { decodedSeconds, matchFrames } from "./testing/source-compare.ts";
import { makeSource } from "./testing/source-maker.ts";

useJobBench();

/** For each container; `CONSTANT_RATE_RUNS=50` looks longer. */
const numRuns = Number(process.env.CONSTANT_RATE_RUNS ?? 2);
const seed = Number(process.env.CONSTANT_RATE_SEED ?? 20_261_201);

/** Its header's average is 16 fps: taken for a variable rate, it came out at 24. */
const LAST_CUT = {
  ...{ rate: { num: 15, den: 1 }, shown: 15, startSeconds: 0, hidden: 0 },
  ...{ jitter: 0, bFrames: false, lastDurationMissing: true, sound: false },
} as const;

const CONTAINERS = Object.keys(RATES) as ConstantSource["container"][];

describe("a constant rate", () => {
  test.for(CONTAINERS)("in %s", { timeout: 60_000 * numRuns }, async (container, { skip }) => {
    const reason = await lacking(needsOf(container));
    skip(reason !== null, reason ?? "");
    await fc.assert(fc.asyncProperty(fc.noBias(shapesOf(container)), isKept), {
      numRuns: numRuns + 1,
      ...(MOVIES.has(container) ? { examples: [[{ ...LAST_CUT, container }]] } : {}),
      seed: seed + CONTAINERS.indexOf(container),
      endOnFailure: true,
    });
  });
});

function needsOf(container: ConstantSource["container"]): Need[] {
  if (MOVIES.has(container)) return ["bsf:setts"];
  return container === "ts" ? ["transport-streams"] : [];
}

async function isKept(shape: ConstantSource): Promise<void> {
  const file = await makeSource(constantSource(shape), clip(""));
  const made = await make(file);
  const [quality] = qualities(made);
  const look = await lookAt(made.files.get(quality ?? "360p") ?? "");
  const frameSeconds = shape.rate.den / shape.rate.num;
  // That the clip is what it was meant to be: else this would test its making. A copy may hide fewer than it was asked to.
  const { length: shown } = await decodedSeconds(binaries, file);
  expect([shape.shown, shape.shown + shape.hidden]).toContain(shown);
  const truth = Array.from({ length: shown }, (_, n) => n * frameSeconds);
  const { missing, repeated } = matchFrames(truth, look.shownSeconds, frameSeconds / 2);
  const [num, den] = (look.video?.r_frame_rate ?? "").split("/").map(Number);
  expect({ missing, repeated, frames: look.frames }).toEqual({ missing: 0, repeated: 0, frames: shown });
  expect(Math.abs(((num ?? 0) / (den ?? 1)) * frameSeconds - 1)).toBeLessThan(0.002);
}
