import fc from "fast-check";
import { expect, test } from "vitest";
import { cutIntoSegments } from "./render-plan.ts";

test("segments follow one another, and cut between two frames", () => {
  expect(cutIntoSegments({ startSeconds: 0, endSeconds: 12 }, { count: 3, fps: 25 })).toEqual([
    { startSeconds: 0, endSeconds: 3.98 },
    { startSeconds: 3.98, endSeconds: 7.98 },
    { startSeconds: 7.98, endSeconds: 12 },
  ]);
});

test("every frame lies in exactly one segment", () => {
  const rates = fc.constantFrom(24_000 / 1_001, 24, 25, 30_000 / 1_001, 50, 60);
  fc.assert(
    fc.property(rates, fc.integer({ min: 1, max: 100 }), fc.integer({ min: 0, max: 5_000 }), (fps, count, more) => {
      const frames = count + more;
      const segments = cutIntoSegments({ startSeconds: 0, endSeconds: frames / fps }, { count, fps });
      const held = segments.map(
        ({ startSeconds, endSeconds }) => Math.ceil(endSeconds * fps - 1e-3) - Math.ceil(startSeconds * fps - 1e-3),
      );
      expect(held.reduce((sum, one) => sum + one, 0)).toBe(frames);
      expect(Math.min(...held)).toBeGreaterThan(0);
    }),
  );
});

test("more segments than frames are refused", () => {
  expect(() => cutIntoSegments({ startSeconds: 0, endSeconds: 0.1 }, { count: 4, fps: 25 })).toThrow(RangeError);
});
