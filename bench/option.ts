/** Reads a bench's own options. */
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

/** @throws OptionError */
export function wholeNumber(name: string, text: string, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new OptionError(`--${name} takes a whole number from 1 to ${most}, not ${text}.`);
}
