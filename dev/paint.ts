/** The few colours of the local tools. styleText honours NO_COLOR, FORCE_COLOR and whether the stream is a terminal. */
import { styleText } from "node:util";

type Paint = (text: string) => string;

const paint =
  (format: Parameters<typeof styleText>[0]): Paint =>
  (text) =>
    styleText(format, text, { stream: process.stdout });

export const dim = paint("dim");
export const bold = paint("bold");
export const good = paint("green");
export const bad = paint("red");
export const warm = paint("yellow");
export const accent = paint("cyan");

/** Safe for the narrowest common terminal, and for pipes. */
export function terminalColumns(): number {
  return Math.max(60, Math.min(process.stdout.columns ?? 100, 160));
}
