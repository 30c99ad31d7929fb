/**
 * Lines that are redrawn in place on a terminal; elsewhere one plain line per item whenever it says something new, at
 * most every two seconds.
 */
import { dim } from "./paint.ts";

export type LiveItem = { lines(columns: number): string[]; summary(): string };

export type LiveScreen = { redraw(): void; finish(): void };

const frameMs = 100;
const plainMs = 2_000;
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
  const redraw = () => {
    // One column is left free: a full last column wraps on some terminals.
    const columns = Math.max(40, (stream.columns ?? 80) - 1);
    const blocks = items.map((item) => item.lines(columns));
    const all = blocks.flatMap((lines, index) => (index === 0 ? lines : ["", ...lines]));
    // What scrolled away cannot be redrawn: the newest lines are the ones kept in view.
    const lines = all.slice(-Math.max(1, (stream.rows ?? 24) - 1));
    const up = drawnLines > 0 ? `\u001b[${drawnLines}A` : "";
    stream.write(`${up}\r\u001b[0J${lines.join("\n")}\n`);
    drawnLines = lines.length;
  };
  const timer = setInterval(redraw, frameMs);
  return {
    redraw,
    finish() {
      clearInterval(timer);
      redraw();
      process.off("exit", onExit);
      stream.write(showCursor);
    },
  };
}

function openPlain(stream: NodeJS.WriteStream, items: readonly LiveItem[]): LiveScreen {
  const said = items.map(() => "");
  const beganAtMs = performance.now();
  const redraw = () => {
    for (const [index, item] of items.entries()) {
      const summary = item.summary();
      if (summary === said[index]) continue;
      said[index] = summary;
      stream.write(`${dim(`${((performance.now() - beganAtMs) / 1_000).toFixed(1).padStart(6)} s`)}  ${summary}\n`);
    }
  };
  const timer = setInterval(redraw, plainMs);
  return {
    redraw,
    finish() {
      clearInterval(timer);
      redraw();
    },
  };
}
