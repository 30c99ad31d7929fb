/**
 * Lines that are redrawn in place on a terminal; elsewhere one plain line per item when it enters another stage, and now
 * and then while it stays in one.
 */
import { dim } from "./paint.ts";

export type LiveItem = {
  lines(columns: number): string[];
  /** `stage` changes rarely and is told at once; `detail` moves all the time. */
  summary(): { stage: string; detail: string };
};

export type LiveScreen = { redraw(): void; finish(): void };

const frameMs = 100;
const plainPollMs = 250;
const plainRepeatMs = 10_000;
const hideCursor = "\u001b[?25l";
const showCursor = "\u001b[?25h";

export function openLiveScreen(stream: NodeJS.WriteStream, items: readonly LiveItem[]): LiveScreen {
  return stream.isTTY ? openTerminal(stream, items) : openPlain(stream, items);
}

function openTerminal(stream: NodeJS.WriteStream, items: readonly LiveItem[]): LiveScreen {
  let drawnLines = 0;
  const onExit = () => stream.write(showCursor);
  process.once("exit", onExit);
  stream.write(hideCursor);
  const draw = (maxLines: number) => {
    // One column is left free: a full last column wraps on some terminals.
    const columns = Math.max(40, (stream.columns ?? 80) - 1);
    const blocks = items.map((item) => item.lines(columns));
    const all = blocks.flatMap((lines, index) => (index === 0 ? lines : ["", ...lines]));
    const lines = all.slice(-maxLines);
    const up = drawnLines > 0 ? `\u001b[${drawnLines}A` : "";
    stream.write(`${up}\r\u001b[0J${lines.join("\n")}\n`);
    drawnLines = lines.length;
  };
  // What scrolled away cannot be redrawn: until the end, only as many lines as are in view.
  const redraw = () => draw(Math.max(1, (stream.rows ?? 24) - 1));
  const timer = setInterval(redraw, frameMs);
  return {
    redraw,
    finish() {
      clearInterval(timer);
      draw(Number.POSITIVE_INFINITY);
      process.off("exit", onExit);
      stream.write(showCursor);
    },
  };
}

function openPlain(stream: NodeJS.WriteStream, items: readonly LiveItem[]): LiveScreen {
  const said = items.map(() => ({ stage: "", detail: "", atMs: 0 }));
  const beganAtMs = performance.now();
  const redraw = () => {
    const nowMs = performance.now();
    for (const [index, item] of items.entries()) {
      const { stage, detail } = item.summary();
      const last = said[index];
      const isNew = last?.stage !== stage || (last.detail !== detail && nowMs - last.atMs >= plainRepeatMs);
      if (!isNew) continue;
      said[index] = { stage, detail, atMs: nowMs };
      stream.write(
        `${dim(`${((nowMs - beganAtMs) / 1_000).toFixed(1).padStart(6)} s`)}  ${stage}  ${detail}`.trimEnd(),
      );
      stream.write("\n");
    }
  };
  const timer = setInterval(redraw, plainPollMs);
  return {
    redraw,
    finish() {
      clearInterval(timer);
      redraw();
    },
  };
}
