/**
 * The live block for a person at a terminal: the encoder, and for each job a bar per rendition. Log lines scroll above it.
 * Where nobody watches, a log line now and then says how far each job is.
 */
import type { RunningJob } from "./job-board.ts";
import type { EncodeProgress } from "./media/encode-job.ts";

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

type Terminal = { isTTY?: boolean; columns?: number; rows?: number; write(text: string): unknown };

const FRAME_MS = 250;
const BAR_COLUMNS = 24;

export function createLiveView(terminal: Terminal, read: () => ViewState | null): LiveView {
  if (!terminal.isTTY) return { clear: () => undefined, close: () => undefined };
  let drawnLines = 0;
  const clear = () => {
    if (drawnLines > 0) terminal.write(`\u001b[${drawnLines}A\r\u001b[0J`);
    drawnLines = 0;
  };
  const draw = () => {
    const state = read();
    if (state === null) return;
    // What scrolled away cannot be redrawn, and a full last column wraps on some terminals.
    const columns = Math.max(20, (terminal.columns ?? 80) - 1);
    const lines = viewLines(state, columns).slice(0, Math.max(1, (terminal.rows ?? 24) - 1));
    const up = drawnLines > 0 ? `\u001b[${drawnLines}A\r` : "";
    terminal.write(`${up}\u001b[0J${lines.join("\n")}\n`);
    drawnLines = lines.length;
  };
  const timer = setInterval(draw, FRAME_MS);
  timer.unref();
  return {
    clear,
    close: () => {
      clearInterval(timer);
      clear();
    },
  };
}

export function viewLines({ runnerId, encoder, stopped, jobs }: ViewState, columns: number): string[] {
  const doing = stopped !== null ? `stopped: ${stopped}` : jobs.length === 0 ? "waiting for jobs" : "";
  const head = [runnerId, encoder, doing].filter((text) => text !== "").join(" · ");
  return [head, ...jobs.flatMap(jobLines)].map((line) => cut(line, columns));
}

function jobLines({ fileId, progress, counts, storedBytes, lease }: RunningJob): string[] {
  const bytes = `in ${sizeText(counts.sourceBytes)} · out ${sizeText(storedBytes)}`;
  if (progress === null) return [`${fileId}  ${lease === null ? "claiming" : "probing"} · ${bytes}`];
  return [
    `${fileId}  ${progressText(progress)} · ${bytes}`,
    ...progress.renditions.map(
      ({ quality, percent, uploadedBytes }) =>
        `  ${quality.padStart(5)} ${barText(percent / 100)} ${percentText(percent)} · ${sizeText(uploadedBytes)}`,
    ),
  ];
}

export function progressText({ percent, fps, speed, etaSeconds }: EncodeProgress): string {
  const left = etaSeconds === null ? "" : ` · ${clockText(etaSeconds)} left`;
  return `${percentText(percent)} · ${fps.toFixed(0)} fps · ${speed.toFixed(1)}×${left}`;
}

const percentText = (percent: number) => `${Math.floor(Math.min(100, Math.max(0, percent)))} %`.padStart(5);

/** Floored, so that a full bar means done. */
function barText(fraction: number): string {
  const filled = Math.floor(Math.min(1, Math.max(0, fraction)) * BAR_COLUMNS);
  return "━".repeat(filled) + "─".repeat(BAR_COLUMNS - filled);
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

/** All that is shown is one column a character. */
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
