import fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "./seeded-random.ts";

const draw = (...seed: number[]) => {
  const random = seededRandom(...seed);
  return Array.from({ length: 6 }, () => random.below(1_000));
};

test("a seed means the same for ever: a printed one can be repeated years later", () => {
  expect(draw(42, 1)).toMatchInlineSnapshot(`
    [
      688,
      744,
      88,
      144,
      161,
      399,
    ]
  `);
  expect(draw(42, 2)).toMatchInlineSnapshot(`
    [
      465,
      970,
      263,
      595,
      288,
      917,
    ]
  `);
});

test("choices stay within their bounds, and a shuffled list is the same list", () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(1_000), fc.array(fc.integer()), (seed, run, list) => {
      const random = seededRandom(seed, run);
      const n = random.below(7);
      expect(n >= 0 && n < 7 && Number.isInteger(n)).toBe(true);
      expect(["a", "b"]).toContain(random.pick(["a", "b"]));
      expect(random.shuffle(list).sort()).toEqual([...list].sort());
    }),
  );
});

test("every number comes about as often as any other", () => {
  const counts = new Map<number, number>();
  for (let run = 0; run < 6_000; run++) {
    const n = seededRandom(1, run).below(6);
    counts.set(n, (counts.get(n) ?? 0) + 1);
  }
  for (const [n, times] of counts) expect(times, String(n)).toBeGreaterThan(800);
  expect(counts.size).toBe(6);
});
