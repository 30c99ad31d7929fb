/** Columns of a terminal that a text takes: colour codes take none, CJK and emoji take two, marks take none. */
import { stripVTControlCharacters } from "node:util";

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const wide =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]|[\u{20000}-\u{3fffd}]/u;

export function textWidth(text: string): number {
  let columns = 0;
  for (const { segment } of segmenter.segment(stripVTControlCharacters(text))) {
    if (/^[\p{Mark}\p{Control}\p{Format}]+$/u.test(segment)) continue;
    columns += wide.test(segment) ? 2 : 1;
  }
  return columns;
}

/** Shortens plain text to at most `columns`, with an ellipsis in the middle: both ends of a key tell something. */
export function shorten(text: string, columns: number): string {
  if (textWidth(text) <= columns) return text;
  if (columns <= 1) return columns === 1 ? "…" : "";
  const segments = [...segmenter.segment(text)].map(({ segment }) => segment);
  const headColumns = Math.ceil((columns - 1) / 2);
  const head = takeColumns(segments, headColumns);
  const tail = takeColumns([...segments].reverse(), columns - 1 - headColumns).reverse();
  return `${head.join("")}…${tail.join("")}`;
}

/** What does not fit is cut off at the end, and its colours go with it. */
export function cutPainted(text: string, columns: number): string {
  if (textWidth(text) <= columns) return text;
  const segments = [...segmenter.segment(stripVTControlCharacters(text))].map(({ segment }) => segment);
  return columns <= 0 ? "" : `${takeColumns(segments, columns - 1).join("")}…`;
}

function takeColumns(segments: readonly string[], columns: number): string[] {
  const taken: string[] = [];
  let used = 0;
  for (const segment of segments) {
    used += textWidth(segment);
    if (used > columns) break;
    taken.push(segment);
  }
  return taken;
}

export function padEnd(text: string, columns: number): string {
  return text + " ".repeat(Math.max(0, columns - textWidth(text)));
}

export function padStart(text: string, columns: number): string {
  return " ".repeat(Math.max(0, columns - textWidth(text))) + text;
}
