/** What a bench is, and what it says: progress while it runs, and its figures as JSON lines at the very end. */

export interface Bench {
  /** One line for the list. */
  says: string;
  help: string;
  run(args: string[]): Promise<void>;
}

export interface Figure {
  figure: string;
  value: number;
  baseline: number;
  /** What the promise is about: value / baseline. */
  ratio: number;
}

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("nothing was measured");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

const rounded = (value: number) => Number(value.toFixed(3));

export function figureOf(figure: string, value: number, baseline: number): Figure {
  return { figure, value: rounded(value), baseline: rounded(baseline), ratio: rounded(value / baseline) };
}

export type Promised = { atLeast: number } | { atMost: number };

export function promiseLine({ figure, ratio }: Figure, promised: Promised): string {
  const [holds, says] =
    "atLeast" in promised
      ? [ratio >= promised.atLeast, `at least ${promised.atLeast}`]
      : [ratio <= promised.atMost, `at most ${promised.atMost}`];
  return `${figure} ${holds ? "holds" : "does not hold"} (${says})`;
}

export function printFigures(figures: readonly Figure[]): void {
  for (const figure of figures) console.log(JSON.stringify(figure));
}

const quietMs = 5_000;
let saidAtMs = Number.NEGATIVE_INFINITY;

/** A line that stays. */
export function say(text: string): void {
  saidAtMs = performance.now();
  console.error(text);
}

/** A line that is worth seeing only while it is new: every few seconds one. */
export function saySometimes(text: string): void {
  if (performance.now() - saidAtMs >= quietMs) say(text);
}
