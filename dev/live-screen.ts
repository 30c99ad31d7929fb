/**
 * Lines that are redrawn in place on a terminal; elsewhere one plain line per item when it enters another stage, and now
 * and then while it stays in one.
 */
import { blockColumns, createRedrawnBlock } from "../gpu-runner/redrawn-block.ts";
import { dim } from "./paint.ts";
import { cutPainted, textWidth } from "./text-width.ts";

export type LiveItem = {
  lines(columns: number): string[];
  /** `stage` changes rarely and is told at once; `detail` moves all the time. */
  summary(): { stage: string; detail: string };
};

export type LiveScreen = { redraw(): void; finish(): void };

const frameMs = 100;
const plainPollMs = 250;
const plainRepeatMs = 10_000;
/** Below this, items draw as if they had so many, and are cut. */
const leastColumns = 40;
const hideCursor = "\u001b[?25l";
const showCursor = "\u001b[?25h";

export function openLiveScreen(stream: NodeJS.WriteStream, items: readonly LiveItem[]): LiveScreen {
  return stream.isTTY ? openTerminal(stream, items) : openPlain(stream, items);
}

function openTerminal(stream: NodeJS.WriteStream, items: readonly LiveItem[]): LiveScreen {
  const block = createRedrawnBlock(stream, textWidth);
  const onExit = () => stream.write(showCursor);
  process.once("exit", onExit);
  stream.write(hideCursor);
  const drawn = () => {
    const columns = blockColumns(stream);
    const blocks = items.map((item) => item.lines(Math.max(leastColumns, columns)));
    const lines = blocks.flatMap((block, index) => (index === 0 ? block : ["", ...block]));
    return lines.map((line) => cutPainted(line, columns));
  };
  // Of more lines than are in view, the last.
  const redraw = () => block.draw(drawn().slice(-Math.max(1, (stream.rows ?? 24) - 1)));
  const timer = setInterval(redraw, frameMs);
  return {
    redraw,
    finish() {
      clearInterval(timer);
      block.leave(drawn());
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
