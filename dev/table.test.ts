import { expect, test } from "vitest";
import { renderTable } from "./table.ts";
import { textWidth } from "./text-width.ts";

const columns = [{ title: "copy" }, { title: "size", align: "right" as const }, { title: "key", shrinkTo: 12 }];
const rows = [
  ["360p", "2.8 MB", "proxies/demo/first-cut/6b04c9651bdec86c4d2f9924/360p.mp4"],
  ["original", "34 MB", "originals/demo/a.mov"],
];

test("columns line up and numbers stand right", () => {
  expect(renderTable(columns, rows, { maxColumns: 100, indent: "  " })).toEqual([
    "  copy        size  key",
    "  360p      2.8 MB  proxies/demo/first-cut/6b04c9651bdec86c4d2f9924/360p.mp4",
    "  original   34 MB  originals/demo/a.mov",
  ]);
});

test("only the column that may shrink does, and no further than it may", () => {
  const narrow = renderTable(columns, rows, { maxColumns: 50 });
  expect(Math.max(...narrow.map(textWidth))).toBe(50);
  expect(narrow[1]).toMatch(/^360p {6}2\.8 MB {2}proxies.*….*360p\.mp4$/);
  const tiny = renderTable(columns, rows, { maxColumns: 10 });
  expect(Math.max(...tiny.map(textWidth))).toBe(8 + 2 + 6 + 2 + 12);
});

test("paint is applied to the padded cell and changes no width", () => {
  const paint = (text: string) => `\u001b[1m${text}\u001b[22m`;
  const [, row] = renderTable(
    [{ title: "a", paint }, { title: "b" }],
    [
      ["x", "y"],
      ["longer", "z"],
    ],
    { maxColumns: 80 },
  );
  expect(row).toBe("\u001b[1mx     \u001b[22m  y");
});
