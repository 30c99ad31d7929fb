/** The request path's structured log: one JSON object a line, with tokens and query strings taken out. */

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

export type LogField = string | number | boolean | null | undefined;

/** A log line's text. `error` is told by its name, message and stack, all redacted. */
export function logLine(
  level: "info" | "warn" | "error",
  message: string,
  fields: Record<string, LogField>,
  error?: unknown,
): string {
  const told = error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : error;
  const line = {
    level,
    time: Date.now(),
    msg: message,
    ...fields,
    ...(told === undefined ? {} : { error: String(told) }),
  };
  return JSON.stringify(line, (_key, value) => (typeof value === "string" ? redacted(value) : value));
}

export function logError(message: string, fields: Record<string, LogField>, error?: unknown): void {
  // biome-ignore lint/suspicious/noConsole: the platform collects its log from the console
  console.error(logLine("error", message, fields, error));
}
