/** What a bench is told on its command line, and when to leave. */
import { type ParseArgsConfig, parseArgs } from "node:util";

/** The bench was called wrongly: nothing was measured. */
export class OptionError extends Error {
  override readonly name = "OptionError";
}

/** @throws OptionError for what the bench does not know */
export function readOptions<Options extends NonNullable<ParseArgsConfig["options"]>>(args: string[], options: Options) {
  try {
    return parseArgs({ args, options }).values;
  } catch (error) {
    throw new OptionError((error as Error).message);
  }
}

export interface WholeNumber {
  least?: number;
  most: number;
  unless: number;
}

/** Whole numbers, by the names of their flags. @throws OptionError */
export function wholeNumbers<Name extends string>(
  args: string[],
  wanted: Readonly<Record<Name, WholeNumber>>,
): Record<Name, number> {
  const flags = Object.entries<WholeNumber>(wanted);
  const values = readOptions(args, Object.fromEntries(flags.map(([name]) => [name, { type: "string" as const }])));
  const numbers = flags.map(([name, { least = 1, most, unless }]): [string, number] => {
    const value = Number(values[name] ?? unless);
    if (Number.isInteger(value) && value >= least && value <= most) return [name, value];
    throw new OptionError(`--${name} takes a whole number from ${least} to ${most}, not ${values[name]}.`);
  });
  return Object.fromEntries(numbers) as Record<Name, number>;
}

/** Aborted by the first signal that asks this process to end; a second one ends it. */
export function whenToldToLeave(): AbortSignal {
  const leaving = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => leaving.abort(new Error("stopped")));
  }
  return leaving.signal;
}
