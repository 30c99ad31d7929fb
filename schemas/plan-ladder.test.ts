import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultLadder, LadderPolicy, qualityRank, RenditionPlan } from "./ladder.ts";
import type { SourceProbe } from "./media-probe.ts";
import { planLadder } from "./plan-ladder.ts";
import { sourceProbe } from "./source-probe-sample.ts";

const base = sourceProbe({
  durationSeconds: 10.02,
  fps: { num: 24, den: 1 },
  audio: [{ codec: "aac", channels: 2, sampleRateHz: 48_000, language: null }],
});
const plan = (changes: Partial<SourceProbe>) => planLadder({ ...base, ...changes }, defaultLadder);
const sizes = (width: number, height: number) =>
  plan({ width, height }).map((p) => `${p.quality} ${p.width}x${p.height}`);

test("the default ladder is a valid policy", () => {
  expect(LadderPolicy.parse(defaultLadder)).toEqual(defaultLadder);
});

describe("sizes", () => {
  test("every rung up to the source's short side, none above", () => {
    expect(sizes(1920, 1080)).toEqual(["360p 640x360", "540p 960x540", "720p 1280x720", "1080p 1920x1080"]);
    expect(sizes(3840, 2160).at(-1)).toBe("2160p 3840x2160");
    expect(sizes(854, 480)).toEqual(["360p 640x360"]);
    expect(sizes(1920, 800)).toEqual(["360p 864x360", "540p 1296x540", "720p 1728x720"]);
  });

  test("a portrait clip gets the rungs of a landscape one", () => {
    expect(sizes(1080, 1920)).toEqual(["360p 360x640", "540p 540x960", "720p 720x1280", "1080p 1080x1920"]);
  });

  test("below 360 a source keeps its own size, made even", () => {
    expect(sizes(320, 240)).toEqual(["360p 320x240"]);
    expect(sizes(211, 121)).toEqual(["360p 210x120"]);
    expect(sizes(1, 1)).toEqual(["360p 2x2"]);
  });

  test("a panorama stays within what players decode", () => {
    expect(sizes(7680, 1080)).toEqual(["360p 2560x360", "540p 3840x540"]);
    expect(sizes(12_000, 400)).toEqual(["360p 4096x136"]);
  });
});

describe("frame rate", () => {
  const rate = (num: number, den: number, vfr = false) => {
    const [first] = plan({ fps: { num, den }, vfr });
    return first && [first.fps.num, first.fps.den, first.resample, first.gop];
  };

  test("is the source's, spelled as the standard spells it", () => {
    expect(rate(24, 1)).toEqual([24, 1, false, 48]);
    expect(rate(30000, 1001)).toEqual([30000, 1001, false, 60]);
    expect(rate(2997, 100)).toEqual([30000, 1001, true, 60]);
    expect(rate(15, 1)).toEqual([15, 1, false, 30]);
  });

  test("above 60 is divided by an integer", () => {
    expect(rate(120, 1)).toEqual([60, 1, true, 120]);
    expect(rate(120000, 1001)).toEqual([60000, 1001, true, 120]);
    expect(rate(100, 1)).toEqual([50, 1, true, 100]);
    expect(rate(240, 1)).toEqual([60, 1, true, 120]);
  });

  test("that varies becomes the next standard one", () => {
    expect(rate(4000, 133, true)).toEqual([48, 1, true, 96]);
    expect(rate(29_970, 1000, true)).toEqual([30000, 1001, true, 60]);
    expect(rate(8, 1, true)).toEqual([24000, 1001, true, 48]);
    expect(rate(90, 1, true)).toEqual([60, 1, true, 120]);
  });
});

test("expects as many frames as the picture lasts", () => {
  expect(plan({})[0]).toMatchObject({ expectedFrames: 240, expectedDurationSeconds: 10.02 });
  expect(plan({ videoDurationSeconds: 0.001 })[0]).toMatchObject({ expectedFrames: 1 });
});

test("sound only where there is some that can be decoded", () => {
  expect(plan({})[0]?.audioBitrateBps).toBe(128_000);
  expect(plan({ audio: [] })[0]?.audioBitrateBps).toBeNull();
  expect(
    plan({ audio: [{ codec: "unknown", channels: 4, sampleRateHz: null, language: null }] })[0]?.audioBitrateBps,
  ).toBeNull();
});

test("timecode only where it stays true and ffmpeg takes it", () => {
  const at = (timecode: string, num: number, den: number) => plan({ timecode, fps: { num, den } })[0]?.timecode;
  expect(at("01:00:00:00", 24, 1)).toBe("01:00:00:00");
  expect(at("01:00:00;00", 30000, 1001)).toBe("01:00:00;00");
  expect(at("01:00:00:00", 2997, 100)).toBe("01:00:00:00");
  expect(at("01:00:00;00", 25, 1)).toBeNull();
  expect(at("01:00:00:29", 25, 1)).toBeNull();
  expect(at("01:00:00:00", 120, 1)).toBeNull();
  expect(at("01:00:00:00", 15, 1)).toBeNull();
});

test("a day of 2160p still fits into 10,000 parts", () => {
  const [top] = plan({ width: 3840, height: 2160, durationSeconds: 86_400, videoDurationSeconds: 86_400 }).slice(-1);
  const largestBytes = (86_400 * (18_000_000 + 128_000)) / 8;
  expect(largestBytes / (top?.partSizeBytes ?? 1)).toBeLessThan(10_000);
  expect(plan({})[0]?.partSizeBytes).toBe(6 * 1024 * 1024);
});

test("whatever the source, the plan is valid, rises, and scales nothing up", () => {
  const sources = fc.record({
    width: fc.integer({ min: 1, max: 16_000 }),
    height: fc.integer({ min: 1, max: 16_000 }),
    fps: fc.record({ num: fc.integer({ min: 1, max: 240_000 }), den: fc.integer({ min: 1, max: 1001 }) }),
    vfr: fc.boolean(),
    videoDurationSeconds: fc.double({ min: 0.001, max: 100_000, noNaN: true }),
  });
  fc.assert(
    fc.property(sources, (changes) => {
      const plans = plan(changes);
      expect(plans.length).toBeGreaterThan(0);
      for (const [i, one] of plans.entries()) {
        RenditionPlan.parse(one);
        expect(one.width).toBeLessThanOrEqual(Math.max(2, changes.width + 1));
        expect(one.height).toBeLessThanOrEqual(Math.max(2, changes.height + 1));
        expect(one.fps.num / one.fps.den).toBeLessThanOrEqual(60.1);
        const below = plans[i - 1];
        if (below) expect(qualityRank(one.quality)).toBeGreaterThan(qualityRank(below.quality));
      }
    }),
  );
});
