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

export function createLog(level: string, destination?: DestinationStream): Logger {
  const options = { level, base: { name: "lucid-agent" }, hooks: { streamWrite: redacted } };
  return destination === undefined ? pino(options) : pino(options, destination);
}
