/** Progress bars of heavy and light rules, half a column fine, and the spellings of sizes and times beside them. */
import { accent, dim, good } from "./paint.ts";

/** @param fraction 0–1; anything outside is clamped, and what is not a number counts as 0 */
export function barGlyphs(fraction: number, columns: number): { filled: string; rest: string } {
  const clamped = Number.isFinite(fraction) ? Math.min(1, Math.max(0, fraction)) : 0;
  // Floored, so that a full bar means done.
  const halves = Math.floor(clamped * columns * 2);
  const full = Math.floor(halves / 2);
  const filled = "━".repeat(full) + (halves % 2 === 1 ? "╸" : "");
  return { filled, rest: "─".repeat(columns - filled.length) };
}

export function renderBar(fraction: number, columns: number): string {
  const { filled, rest } = barGlyphs(fraction, columns);
  return (rest === "" ? good(filled) : accent(filled)) + dim(rest);
}

const units = ["B", "kB", "MB", "GB", "TB"] as const;

/** Decimal units, three digits at most: "999 B", "1.2 MB", "345 MB". */
export function formatSize(sizeBytes: number): string {
  let value = sizeBytes;
  let unit = 0;
  while (Math.round(value) >= 1_000 && unit < units.length - 1) {
    value /= 1_000;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** "0.4 s", "12 s", "3 min 05 s", "1 h 02 min". */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, ms) / 1_000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3_600)} h ${String(Math.floor((whole % 3_600) / 60)).padStart(2, "0")} min`;
}

export function formatPercent(fraction: number): string {
  return `${Math.floor(Math.min(1, Math.max(0, fraction)) * 100)} %`;
}
