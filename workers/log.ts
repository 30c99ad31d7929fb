/** The worker's log: typed events, one JSON object a line, with tokens and query strings taken out. */
import { type LogEvent, levelOf } from "../schemas/log-event.ts";

const secrets: readonly (readonly [pattern: RegExp, replacement: string])[] = [
  [/(https?:\/\/[^\s"'?]+)\?[^\s"']*/g, "$1?[redacted]"],
  [/\bBearer\s+[^\s"']+/gi, "Bearer [redacted]"],
  [/\bwhsec_[A-Za-z0-9+/=]+/g, "[redacted]"],
  [/\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*/g, "[redacted]"],
  [/\b(sig|ticket|X-Amz-[A-Za-z-]+|Signature)=[^\s"'&]+/g, "$1=[redacted]"],
];

export function redacted(text: string): string {
  return secrets.reduce((rest, [pattern, replacement]) => rest.replace(pattern, replacement), text);
}

/** A log line's text. `fault` is told by its name, message and stack, all redacted. */
export function logLine(event: LogEvent, nowMs: number, fault?: unknown): string {
  const told = fault instanceof Error ? (fault.stack ?? `${fault.name}: ${fault.message}`) : fault;
  const line = {
    level: levelOf[event.event],
    time: nowMs,
    ...event,
    ...(told === undefined ? {} : { error: String(told) }),
  };
  return JSON.stringify(line, (_key, value) => (typeof value === "string" ? redacted(value) : value));
}

export function log(event: LogEvent, fault?: unknown): void {
  const line = logLine(event, Date.now(), fault);
  // biome-ignore lint/suspicious/noConsole: the platform collects its log from the console
  console[levelOf[event.event]](line);
}
