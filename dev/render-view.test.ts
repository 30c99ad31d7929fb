import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import { isProven, type RenderState, type SegmentState } from "./render-run.ts";
import { renderProgress, reportRender, summarizeRender } from "./render-view.ts";

const segment = (changes: Partial<SegmentState>): SegmentState => ({
  startSeconds: 0,
  endSeconds: 3.98,
  wantedBytes: 2_000_000,
  readBytes: 2_000_000,
  expectedFrames: 100,
  frames: 100,
  stage: "identical",
  failure: null,
  ...changes,
});
const state = (segments: SegmentState[], whole: RenderState["whole"]): RenderState => ({
  fileName: "A001.mov",
  sizeBytes: 8_000_000,
  segments,
  whole,
});
const plain = (lines: string[]) => lines.map(stripVTControlCharacters);

test("the report says of each segment what it read, and whether its frames are the whole file's", () => {
  const failure = "the whole file has 101 frames here";
  const segments = [segment({}), segment({ startSeconds: 3.98, endSeconds: 8, stage: "different", failure })];
  expect(plain(reportRender(state(segments, { readBytes: 8_000_000 }), 100))).toEqual([
    "  segment      seconds  bytes read  of the file  frames  identical",
    "        1  0.00–3.98 s      2.0 MB         25 %     100  yes",
    "        2  3.98–8.00 s      2.0 MB         25 %     100  no",
    `  ✗ segment 2: ${failure}`,
  ]);
});

test("nothing is proven while one segment differs, failed, or was not compared as asked", () => {
  const whole = { readBytes: 8_000_000 };
  expect(isProven(state([segment({}), segment({})], whole))).toBe(true);
  for (const stage of ["different", "failed", "decoded", "comparing"] as const) {
    expect(isProven(state([segment({}), segment({ stage })], whole)), stage).toBe(false);
  }
  expect(isProven(state([segment({ stage: "decoded" })], null))).toBe(true);
  expect(isProven(state([segment({ stage: "failed" })], null))).toBe(false);
});

test("no line is wider than asked", () => {
  const segments = (["reading", "decoding", "failed"] as const).map((stage) =>
    segment({ stage, readBytes: 1_000_000 }),
  );
  const under = state(segments, { readBytes: 10 });
  for (const columns of [60, 80, 120]) {
    for (const line of plain(renderProgress(under, columns))) expect(line.length).toBeLessThanOrEqual(columns);
  }
  expect(summarizeRender(under)).toEqual({ stage: "A001.mov  reading and decoding", detail: "3.0 MB read" });
});
