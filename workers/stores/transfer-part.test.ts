import fc from "fast-check";
import { expect, test } from "vitest";
import { partRanges } from "./part-digest.ts";
import { edgeTransferPartBytes, partsPerMessage, transferPart, transferPartCount } from "./transfer-part.ts";

const mib = 1024 ** 2;
const gib = 1024 ** 3;
const tib = 1024 ** 4;

test.each([
  ["a small object", 1, 8 * mib, 64 * mib],
  ["a digest part that does not divide 64 MiB", 5 * gib, 5 * mib, 60 * mib],
  ["a digest part larger than 64 MiB", 5 * gib, 100 * mib, 100 * mib],
  ["what 60 MiB would cut into four rounds and a part more", gib, 6 * mib, 54 * mib],
  ["what four parts of half the size move in one round", 100 * mib, 6 * mib, 30 * mib],
  ["the largest object in 64 MiB parts", 10_000 * 64 * mib, 8 * mib, 64 * mib],
  ["one byte more", 10_000 * 64 * mib + 1, 8 * mib, 72 * mib],
  ["the largest object that R2 takes", 5 * tib, 8 * mib, 528 * mib],
])("part size of %s", (_name, sizeBytes, digestPartBytes, expected) => {
  expect(edgeTransferPartBytes(sizeBytes, digestPartBytes)).toBe(expected);
});

const shape = fc
  .record({ sizeBytes: fc.integer({ min: 0, max: 5 * tib }), digestMib: fc.integer({ min: 5, max: 512 }) })
  .map(({ sizeBytes, digestMib }) => ({ sizeBytes, digestPartBytes: digestMib * mib }));

test("parts are whole digests, few enough, never above 64 MiB without need, and never below half of it", () => {
  fc.assert(
    fc.property(shape, ({ sizeBytes, digestPartBytes }) => {
      const partSizeBytes = edgeTransferPartBytes(sizeBytes, digestPartBytes);
      expect(partSizeBytes % digestPartBytes).toBe(0);
      expect(transferPartCount({ sizeBytes, partSizeBytes, digestPartBytes })).toBeLessThanOrEqual(10_000);
      const smaller = partSizeBytes - digestPartBytes;
      const needed = smaller === 0 || partSizeBytes <= 64 * mib || Math.ceil(sizeBytes / smaller) > 10_000;
      expect(needed).toBe(true);
      const atLeastHalf = partSizeBytes + digestPartBytes > 32 * mib;
      expect(atLeastHalf).toBe(true);
    }),
  );
});

test("parts cover the bytes and the digests exactly once", () => {
  const small = fc.record({
    sizeBytes: fc.integer({ min: 0, max: 10_000 }),
    digestPartBytes: fc.integer({ min: 1_000, max: 2_000 }),
    digestsPerPart: fc.integer({ min: 1, max: 4 }),
  });
  fc.assert(
    fc.property(small, ({ sizeBytes, digestPartBytes, digestsPerPart }) => {
      const plan = { sizeBytes, digestPartBytes, partSizeBytes: digestPartBytes * digestsPerPart };
      const digestRanges = partRanges(sizeBytes, digestPartBytes);
      let fromBytes = 0;
      let fromDigest = 0;
      for (let n = 1; n <= transferPartCount(plan); n++) {
        const part = transferPart(n, plan);
        expect(part).toMatchObject({ n, from: fromBytes, digests: { from: fromDigest } });
        const held = digestRanges.slice(part.digests.from, part.digests.to);
        expect(held.reduce((sum, range) => sum + range.sizeBytes, 0)).toBe(part.sizeBytes);
        expect(held[0]?.from).toBe(part.from);
        fromBytes += part.sizeBytes;
        fromDigest = part.digests.to;
      }
      expect([fromBytes, fromDigest]).toEqual([sizeBytes, digestRanges.length]);
    }),
  );
});

test("there are no parts before the first or after the last", () => {
  const plan = { sizeBytes: 10, partSizeBytes: 4, digestPartBytes: 2 };
  for (const n of [0, 4, 1.5, Number.NaN]) expect(() => transferPart(n, plan)).toThrow(RangeError);
});

test.each([
  [8 * mib, 8],
  [64 * mib, 8],
  [72 * mib, 7],
  [128 * mib, 4],
  [512 * mib, 1],
  [528 * mib, 1],
])("parts of %d bytes: %d in a message", (partSizeBytes, expected) => {
  expect(partsPerMessage(partSizeBytes)).toBe(expected);
});
