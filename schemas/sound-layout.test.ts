import { expect, test } from "vitest";
import { gainsOf, placesOf } from "./sound-layout.ts";

test.each([
  ["5.1(side)", ["FL", "FR", "FC", "LFE", "SL", "SR"]],
  ["FL+FC", ["FL", "FC"]],
  ["LFE", ["LFE"]],
  ["ambisonic 1", null],
  ["FL+XX", null],
  [null, null],
  ["", null],
])("places of %s", (layout, places) => {
  expect(placesOf(layout)).toEqual(places);
});

test("one channel keeps its level on both sides, whatever it is labelled", () => {
  for (const layout of ["mono", "LFE", "FL", null]) expect(gainsOf(layout, 1)).toEqual([[1, 1]]);
});

test("two channels are left and right, unless they have other places", () => {
  const stereo = [
    [1, 0],
    [0, 1],
  ];
  expect(gainsOf("stereo", 2)).toEqual(stereo);
  expect(gainsOf(null, 2)).toEqual(stereo);
  expect(gainsOf("binaural", 2)).toEqual(stereo);
  expect(gainsOf("FR+FL", 2)).toEqual(stereo.toReversed());
});

test("a layout of another number of channels than the track has places none of them", () => {
  expect(gainsOf("5.1", 8)).toBeNull();
  expect(gainsOf("ambisonic 1", 6)).toBeNull();
});

test("every layout lets both sides hear as much", () => {
  for (const [layout, channels] of [
    ["5.1", 6],
    ["7.1", 8],
    ["hexagonal", 6],
    ["22.2", 24],
    ["7.1.4", 12],
  ] as const) {
    const gains = gainsOf(layout, channels) ?? [];
    const sum = (side: 0 | 1) => gains.reduce((total, gain) => total + gain[side], 0);
    expect(sum(0), layout).toBeGreaterThan(1);
    expect(sum(0), layout).toBeCloseTo(sum(1), 6);
  }
});

test("ambisonics: a voice from the left is louder left, from ahead alike, and nothing cancels in mono", () => {
  const [w, y] = gainsOf("ambisonic 1", 4) ?? [];
  const heard = (toTheLeft: number) => [0, 1].map((side) => (w?.[side] ?? 0) + toTheLeft * (y?.[side] ?? 0));
  const [left = 0, right = 0] = heard(1);
  expect(left).toBeGreaterThan(2 * right);
  expect(right).toBeGreaterThan(0);
  expect(heard(0)[0]).toBe(heard(0)[1]);
  expect(gainsOf("ambisonic 2", 9)).toHaveLength(9);
  expect(gainsOf("ambisonic 1+stereo", 6)?.slice(4)).toEqual([
    [1, 0],
    [0, 1],
  ]);
});
