/** The runner's log: one JSON object a line on standard output, with every secret taken out of the finished line. */
import { type Logger, pino } from "pino";

export type LogOptions = {
  level: Logger["level"];
  redact: (text: string) => string;
  /** Called before each line. */
  beforeLine: () => void;
  write: (line: string) => void;
};

export function createLog({ level, redact, beforeLine, write }: LogOptions): Logger {
  const destination = {
    write(line: string) {
      beforeLine();
      write(redact(line));
    },
  };
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
}
