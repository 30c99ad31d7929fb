/** Draws the segments of a render on their way, and what became of them. Pure but for colour. */
import { formatPercent, formatSize, renderBar } from "./bar.ts";
import { bad, bold, dim, good } from "./paint.ts";
import type { RenderState, SegmentState } from "./render-run.ts";
import { renderTable } from "./table.ts";
import { padEnd, shorten } from "./text-width.ts";

const timeColumns = 19;
const noteColumns = 24;

const secondsOf = ({ startSeconds, endSeconds }: SegmentState) =>
  `${startSeconds.toFixed(2)}–${endSeconds.toFixed(2)} s`;

/** Half of the bar is reading, half decoding. */
function fractionOf(segment: SegmentState): number {
  if (segment.stage === "reading") return segment.readBytes / segment.wantedBytes / 2;
  if (segment.stage === "decoding") return Math.min(0.99, 0.5 + segment.frames / segment.expectedFrames / 2);
  return 1;
}

function noteOf(segment: SegmentState): string {
  if (segment.stage === "reading") return `reading  ${formatSize(segment.readBytes)}`;
  if (segment.stage === "decoding") return `decoding  ${segment.frames} frames`;
  return segment.stage === "decoded" ? `${segment.frames} frames` : segment.stage;
}

export function renderProgress(state: RenderState, columns: number): string[] {
  const barColumns = Math.max(10, Math.min(40, columns - timeColumns - noteColumns - 6));
  const row = (label: string, fraction: number, note: string) =>
    `  ${padEnd(label, timeColumns)}${renderBar(fraction, barColumns)}  ${dim(shorten(note, noteColumns))}`.trimEnd();
  const facts = `${formatSize(state.sizeBytes)}  ${state.segments.length} segments`;
  const lines = [`${bold(shorten(state.fileName, Math.max(12, columns - facts.length - 6)))}  ${dim(facts)}`];
  for (const segment of state.segments) lines.push(row(secondsOf(segment), fractionOf(segment), noteOf(segment)));
  if (state.whole !== null) {
    const { readBytes } = state.whole;
    lines.push(row("the whole file", readBytes / state.sizeBytes, formatSize(readBytes)));
  }
  return lines;
}

/** For pipes and logs. */
export function summarizeRender({ fileName, segments }: RenderState): { stage: string; detail: string } {
  const under = segments.filter(({ stage }) => stage === "reading" || stage === "decoding").length;
  const comparing = segments.filter(({ stage }) => stage === "comparing").length;
  const stage = under > 0 ? "reading and decoding" : comparing > 0 ? "comparing with the whole file" : "done";
  const readBytes = segments.reduce((sum, segment) => sum + segment.readBytes, 0);
  return { stage: `${fileName}  ${stage}`, detail: `${formatSize(readBytes)} read` };
}

const verdicts: Partial<Record<SegmentState["stage"], string>> = { identical: "yes", decoded: "not compared" };

const paintVerdict = (text: string) => (text === "yes" ? good(text) : text === "no" ? bad(text) : dim(text));

export function reportRender(state: RenderState, maxColumns: number): string[] {
  const rows = state.segments.map((segment, index) => [
    `${index + 1}`,
    secondsOf(segment),
    formatSize(segment.readBytes),
    formatPercent(segment.readBytes / state.sizeBytes),
    `${segment.frames}`,
    verdicts[segment.stage] ?? "no",
  ]);
  const table = renderTable(
    [
      { title: "segment", align: "right" },
      { title: "seconds", align: "right" },
      { title: "bytes read", align: "right" },
      { title: "of the file", align: "right" },
      { title: "frames", align: "right" },
      { title: "identical", paint: paintVerdict },
    ],
    rows,
    { maxColumns, indent: "  ", paintTitle: dim },
  );
  const failures = state.segments.flatMap(({ failure }, index) =>
    failure === null ? [] : [`  ${bad("✗")} segment ${index + 1}: ${failure}`],
  );
  return [...table, ...failures];
}
