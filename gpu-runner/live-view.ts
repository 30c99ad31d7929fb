/** One live line per runner for a person at a terminal; silent anywhere else. */
import type { EncodeProgress } from "./media/encode-job.ts";

export type ProgressLine = {
  show(fileId: string, progress: EncodeProgress): void;
  /** The job is over. */
  remove(fileId: string): void;
  /** Makes room for a log line; the next `show` draws the line again. */
  clear(): void;
};

type Terminal = { isTTY?: boolean; columns?: number; write(text: string): unknown };

const barCells = 20;
const clearLine = "\r\u001b[2K";

export function createProgressLine(terminal: Terminal): ProgressLine {
  if (!terminal.isTTY) return { show: () => undefined, remove: () => undefined, clear: () => undefined };
  const jobs = new Map<string, EncodeProgress>();
  let drawn = false;

  function clear(): void {
    if (drawn) terminal.write(clearLine);
    drawn = false;
  }

  return {
    clear,
    show(fileId, progress) {
      jobs.set(fileId, progress);
      const text = [...jobs].map(([id, job]) => progressText(id, job)).join("  │  ");
      terminal.write(`${clearLine}${text.slice(0, (terminal.columns ?? 120) - 1)}`);
      drawn = true;
    },
    remove(fileId) {
      jobs.delete(fileId);
      clear();
    },
  };
}

export function progressText(fileId: string, { percent, fps, speed, etaSeconds }: EncodeProgress): string {
  const filled = Math.round((Math.min(100, Math.max(0, percent)) / 100) * barCells);
  const bar = "█".repeat(filled) + "░".repeat(barCells - filled);
  const eta =
    etaSeconds === null ? "" : ` · ${Math.floor(etaSeconds / 60)}:${String(etaSeconds % 60).padStart(2, "0")} left`;
  return `${fileId} ${bar} ${percent.toFixed(0).padStart(3)} % · ${fps.toFixed(0)} fps · ${speed.toFixed(1)}×${eta}`;
}
