import { expect, test } from "vitest";
import { CUBE_SIZE, hdrCube, mapToSdr, pqOfNits, toIctcp } from "./hdr-cube.ts";

const grey = (nits: number) => mapToSdr([pqOfNits(nits), pqOfNits(nits), pqOfNits(nits)], "pq");

test("is a cube in the order and size that ffmpeg reads", () => {
  const lines = hdrCube("hlg").trimEnd().split("\n");
  expect(lines[0]).toBe(`LUT_3D_SIZE ${CUBE_SIZE}`);
  expect(lines).toHaveLength(1 + CUBE_SIZE ** 3);
  expect(lines[1]).toBe("0.00000 0.00000 0.00000");
  expect(lines.at(-1)).toBe("1.00000 1.00000 1.00000");
  expect(Number(lines[CUBE_SIZE]?.split(" ")[0])).toBeGreaterThan(Number(lines[CUBE_SIZE]?.split(" ")[2]));
});

test("greys stay grey and rise with their light, and what is dark stays as it is", () => {
  const shown = [0, 1, 10, 50, 100, 203, 400, 1000, 4000].map(grey);
  for (const [red, green, blue] of shown) {
    expect(Math.abs(red - green)).toBeLessThan(0.002);
    expect(Math.abs(blue - green)).toBeLessThan(0.002);
  }
  const black = 0.001 ** (1 / 2.4);
  const levels = shown.map(([, green]) => green);
  expect(levels).toEqual(levels.toSorted((a, b) => a - b));
  expect(levels.at(-1)).toBeCloseTo(1, 2);
  expect(levels[2]).toBeCloseTo(((10 / 203) ** (1 / 2.4) - black) / (1 - black), 2);
});

test("light of BT.2100's white has no colour in ICtCp", () => {
  const [intensity, tritan, protan] = toIctcp([203, 203, 203]);
  expect(intensity).toBeCloseTo(pqOfNits(203), 6);
  expect(Math.hypot(tritan, protan)).toBeLessThan(1e-6);
});
