/** The agent's log: one JSON object a line, with tokens and query strings taken out of the finished line. */
import { type DestinationStream, type Logger, pino } from "pino";

// None may match a backslash or a quote: the line must stay JSON.
const secrets: readonly (readonly [pattern: RegExp, replacement: string])[] = [
  [/(https?:\/\/[^\s"'?\\]+)\?[^\s"'\\]*/g, "$1?[redacted]"],
  [/\bBearer\s+[^\s"'\\]+/gi, "Bearer [redacted]"],
  [/\bwhsec_[A-Za-z0-9+/=_-]+/g, "[redacted]"],
  [/\b(X-Amz-[A-Za-z-]+|Signature)=[^\s"'&\\]+/gi, "$1=[redacted]"],
];

export function redacted(line: string): string {
  return secrets.reduce((rest, [pattern, replacement]) => rest.replace(pattern, replacement), line);
}

/** More than this waits for no reader: lines are dropped then. */
const maxUnreadBytes = 1024 * 1024;

export function createLog(level: string, destination = standardOutput()): Logger {
  return pino({ level, base: { name: "lucid-agent" }, hooks: { streamWrite: redacted } }, destination);
}

/** Not pino's own, whose write to a pipe that nobody reads holds a thread for ever, and with it the process's end. */
function standardOutput(): DestinationStream {
  // A reader that went away is no reason to stop.
  process.stdout.on("error", () => undefined);
  return {
    write(line) {
      if (process.stdout.writableLength < maxUnreadBytes) process.stdout.write(line);
    },
  };
}
