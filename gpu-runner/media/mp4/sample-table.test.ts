import { expect, test } from "vitest";
import { children, lengthOf, view, writePieces } from "./box.ts";
import { SampleTable } from "./sample-table.ts";

const sample = (sizeBytes: number, compositionOffset: number) => ({
  sizeBytes,
  compositionOffset,
  duration: 512,
  sync: false,
});

/** The numbers of each box's body, version and flags left out. */
function numbersOf(table: SampleTable): Record<string, number[]> {
  const pieces = table.toBoxes(0, false);
  const bytes = new Uint8Array(lengthOf(pieces));
  writePieces(pieces, bytes);
  return Object.fromEntries(
    children(bytes).map(({ type, body }) => {
      const data = view(body);
      return [type, Array.from({ length: body.length / 4 - 1 }, (_, i) => data.getUint32(4 * (i + 1)))];
    }),
  );
}

test("numbers of more than 16 bits stand among smaller ones, before and after", () => {
  const table = new SampleTable();
  const samples = [
    sample(5, 0),
    sample(65_535, 1_024),
    sample(65_536, -512),
    sample(7, 70_000),
    sample(0xffff_ffff, 3),
  ];
  const sizeBytes = samples.reduce((sum, { sizeBytes: bytes }) => sum + bytes, 0);
  table.addRun({ trackId: 1, decodeTime: 0, offsetBytes: 0, sizeBytes, samples }, 0);
  const { stsz, ctts, stts } = numbersOf(table);
  expect(stsz).toEqual([0, 5, 5, 65_535, 65_536, 7, 0xffff_ffff]);
  expect(ctts).toEqual([5, 1, 0, 1, 1_024, 1, 0x1_0000_0000 - 512, 1, 70_000, 1, 3]);
  expect(stts).toEqual([1, 5, 512]);
});

test("more samples of one kind in a row than 16 bits count", () => {
  const table = new SampleTable();
  const samples = Array.from({ length: 70_000 }, () => sample(1, 2));
  table.addRun({ trackId: 1, decodeTime: 0, offsetBytes: 0, sizeBytes: 70_000, samples }, 0);
  const { stts, ctts, stsz } = numbersOf(table);
  expect([stts, ctts, stsz]).toEqual([
    [1, 70_000, 512],
    [1, 70_000, 2],
    [1, 70_000],
  ]);
});
