import { expect, test } from "vitest";
import { lengthOfPackets, type PacketLine, readPacketLine, runsOf } from "./packet-run.ts";

const packet = (shownSeconds: number | null, decodedSeconds: number | null): PacketLine => ({
  ...{ shownSeconds, decodedSeconds },
  ...{ durationSeconds: 0.04, position: 0 },
});
const runs = (packets: PacketLine[], isWhole = true) => runsOf(packets, isWhole).map((run) => [...run]);

test("a line of ffprobe's, and what is none", () => {
  expect(readPacketLine("1.500000,N/A,0.040000,123")).toEqual({
    ...{ shownSeconds: 1.5, decodedSeconds: null },
    ...{ durationSeconds: 0.04, position: 123 },
  });
  expect(readPacketLine("")).toBeNull();
});

test("reordered frames are one run, also where the first do not say when they are decoded", () => {
  const shown = [1.5, 1.62, 1.54, 1.58, 1.74, 1.66, 1.7];
  const decoded = [null, null, 1.5, 1.54, 1.58, 1.62, 1.66];
  const packets = shown.map((at, i) => packet(at, decoded[i] ?? null));
  expect(runs(packets)).toEqual([[1.5, 1.54, 1.58, 1.62, 1.66, 1.7, 1.74]]);
  // What is shown after the last that was decoded may have neighbours that were not read.
  expect(runs(packets, false)).toEqual([[1.5, 1.54, 1.58, 1.62, 1.66]]);
});

test("each place that was read is a run, and so is what follows a pause or a jump back", () => {
  const at = (...seconds: number[]) => seconds.map((each) => packet(each, each));
  expect(runs(at(0, 1, 600, 601, 602))).toEqual([
    [0, 1],
    [600, 601, 602],
  ]);
  expect(runs(at(10, 11, 2, 3))).toEqual([
    [10, 11],
    [2, 3],
  ]);
  expect(runs(at(7))).toEqual([]);
});

test("AVI counts by decoding, and a stream by showing alone", () => {
  expect(runs([packet(null, 0), packet(null, 0.04)])).toEqual([[0, 0.04]]);
  expect(runs([packet(0, null), packet(0.04, null), packet(9, null), packet(9.04, null)])).toEqual([
    [0, 0.04],
    [9, 9.04],
  ]);
  expect(runs([7, 7.667, 7.333].map((at) => packet(at, null)))).toEqual([[7, 7.333, 7.667]]);
  expect(runs([packet(null, null)])).toEqual([]);
});

test("the length is from the first to the end of the last, or that of all packets", () => {
  expect(lengthOfPackets([packet(1, 1), packet(1.04, 1.04)], 1)).toBeCloseTo(0.08, 9);
  expect(lengthOfPackets([packet(null, null), packet(null, null)], 1)).toBeCloseTo(0.08, 9);
  expect(lengthOfPackets([{ ...packet(null, null), durationSeconds: null }], 0.5)).toBe(0.5);
});
