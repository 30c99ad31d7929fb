/** Plain tables for the terminal: aligned columns under a rule, never wider than asked where a column may shrink. */
import { padEnd, padStart, shorten, textWidth } from "./text-width.ts";

export type Column = {
  title: string;
  align?: "left" | "right";
  /** May be shortened, down to this many columns, when the table is too wide. Its cells must hold no colour codes. */
  shrinkTo?: number;
  /** Applied after layout, so that colour codes do not count. */
  paint?(text: string): string;
};

const gap = "  ";

/** Takes from the widest shrinkable column first, so that no column is squeezed while another is roomy. */
function fitWidths(columns: readonly Column[], natural: readonly number[], maxColumns: number): number[] {
  const widths = [...natural];
  const total = () => widths.reduce((sum, width) => sum + width, 0) + gap.length * (columns.length - 1);
  while (total() > maxColumns) {
    let candidate = -1;
    for (const [index, column] of columns.entries()) {
      const width = widths[index] ?? 0;
      if (column.shrinkTo === undefined || width <= column.shrinkTo) continue;
      if (candidate < 0 || width > (widths[candidate] ?? 0)) candidate = index;
    }
    if (candidate < 0) break;
    widths[candidate] = (widths[candidate] ?? 0) - 1;
  }
  return widths;
}

export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  options: { maxColumns: number; indent?: string; paintTitle?(text: string): string },
): string[] {
  const indent = options.indent ?? "";
  const natural = columns.map((column, index) =>
    Math.max(textWidth(column.title), ...rows.map((row) => textWidth(row[index] ?? ""))),
  );
  const widths = fitWidths(columns, natural, options.maxColumns - indent.length);
  const renderRow = (cells: readonly string[], paint: (column: Column) => ((text: string) => string) | undefined) =>
    (
      indent +
      columns
        .map((column, index) => {
          const width = widths[index] ?? 0;
          const text = shorten(cells[index] ?? "", width);
          const isLast = index === columns.length - 1;
          const cell = column.align === "right" ? padStart(text, width) : isLast ? text : padEnd(text, width);
          return paint(column)?.(cell) ?? cell;
        })
        .join(gap)
    ).trimEnd();
  return [
    renderRow(
      columns.map((column) => column.title),
      () => options.paintTitle,
    ),
    ...rows.map((row) => renderRow(row, (column) => column.paint)),
  ];
}
