/**
 * The live block for a person at a terminal: the encoder, and for each job a bar per rendition. Log lines scroll above it.
 * Where nobody watches, a log line now and then says how far each job is.
 */
import type { RunningJob } from "./job-board.ts";
import type { EncodeProgress } from "./media/encode-progress.ts";
import { type BlockTerminal, blockColumns, createRedrawnBlock } from "./redrawn-block.ts";

export type ViewState = {
  runnerId: string;
  encoder: string;
  stopped: string | null;
  jobs: readonly RunningJob[];
};

export type LiveView = {
  /** Makes room for a log line; the next frame draws the block again. */
  clear(): void;
  close(): void;
};

type Terminal = BlockTerminal & { isTTY?: boolean; writableNeedDrain?: boolean };

const FRAME_MS = 250;
const BAR_COLUMNS = 24;
/** Of a rendition's line, beside its bar. */
const FIGURE_COLUMNS = 25;

export function createLiveView(terminal: Terminal, read: () => ViewState | null): LiveView {
  if (!terminal.isTTY) return { clear: () => undefined, close: () => undefined };
  const block = createRedrawnBlock(terminal, (line) => line.length);
  const timer = setInterval(() => {
    // Of a terminal that stands still: frames would pile up in memory.
    if (terminal.writableNeedDrain) return;
    const state = read();
    if (state !== null) block.draw(viewLines(state, blockColumns(terminal)));
  }, FRAME_MS);
  timer.unref();
  return {
    clear: () => block.clear(),
    close: () => {
      clearInterval(timer);
      block.clear();
    },
  };
}

export function viewLines({ runnerId, encoder, stopped, jobs }: ViewState, columns: number): string[] {
  const doing = stopped !== null ? `stopped: ${stopped}` : jobs.length === 0 ? "waiting for jobs" : "";
  // Which encoder was said at the start: what a narrow terminal has no room for.
  const head = [runnerId, doing, encoder].filter((text) => text !== "").join(" · ");
  return [head, ...jobs.flatMap((job) => jobLines(job, columns))].map((line) => cut(plain(line), columns));
}

function jobLines({ fileId, progress, counts, storedBytes, lease }: RunningJob, columns: number): string[] {
  const bytes = `in ${sizeText(counts.sourceBytes)} · out ${sizeText(storedBytes)}`;
  if (progress === null) return [`${fileId}  ${lease === null ? "claiming" : "probing"} · ${bytes}`];
  const barColumns = Math.max(4, Math.min(BAR_COLUMNS, columns - FIGURE_COLUMNS));
  return [
    `${fileId}  ${progressText(progress)} · ${bytes}`,
    ...progress.renditions.map(({ quality, percent, uploadedBytes }) => {
      const bar = barText(percent / 100, barColumns);
      return `  ${quality.padStart(5)} ${bar} ${percentText(percent)} · ${sizeText(uploadedBytes)}`;
    }),
  ];
}

export function progressText({ percent, fps, speed, etaSeconds }: EncodeProgress): string {
  const left = etaSeconds === null ? "" : ` · ${clockText(etaSeconds)} left`;
  return `${percentText(percent)} · ${fps.toFixed(0)} fps · ${speed.toFixed(1)}×${left}`;
}

const percentText = (percent: number) => `${Math.floor(Math.min(100, Math.max(0, percent)))} %`.padStart(5);

/** Floored, so that a full bar means done. */
function barText(fraction: number, columns: number): string {
  const filled = Math.floor(Math.min(1, Math.max(0, fraction)) * columns);
  return "━".repeat(filled) + "─".repeat(columns - filled);
}

function clockText(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value: number) => String(value).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

/** Decimal units, three digits at most. */
export function sizeText(sizeBytes: number): string {
  let value = sizeBytes;
  let unit = 0;
  while (Math.round(value) >= 1_000 && unit < UNITS.length - 1) {
    value /= 1_000;
    unit++;
  }
  return `${value.toFixed(unit === 0 || value >= 99.95 ? 0 : 1)} ${UNITS[unit]}`;
}

const control = /\p{Cc}+/gu;
/** What takes two columns or none, and what a string counts as two characters. */
const uneven =
  /[\p{M}\p{Cf}\u1100-\u115f\u231a-\u231b\u23e9-\u23f3\u25fd-\u25fe\u2614-\u27bf\u2b1b-\u2b55\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{10000}-\u{10ffff}]/gu;

/** One line, one column a character: a reason may quote what a program said. */
const plain = (text: string) => text.replace(control, " ").replace(uneven, "?");

const cut = (line: string, columns: number) => (line.length <= columns ? line : `${line.slice(0, columns - 1)}…`);

const PLAIN_EVERY_MS = 10_000;

/** Whether a job's progress is to be logged now: every ten seconds, and never where a live block shows it. */
export function plainProgress(terminal: Terminal, nowMs: () => number): () => boolean {
  let saidAtMs = nowMs();
  return () => {
    if (terminal.isTTY || nowMs() - saidAtMs < PLAIN_EVERY_MS) return false;
    saidAtMs = nowMs();
    return true;
  };
}
