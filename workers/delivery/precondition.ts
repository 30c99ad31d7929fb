/** The conditions of RFC 9110, section 13, in the order that it gives them. Pure. */

export type Verdict = "proceed" | "not-modified" | "failed";

export interface Validators {
  etag: string;
  /** null: the tier that serves tells none, so that conditions on dates do not count; undefined: not read yet. */
  lastModified: Date | null | undefined;
}

/**
 * What is undecided while the date is not read yet is let through: ask again with the date.
 * Only ETags that are ours are compared, and they hold neither comma nor quote.
 */
export function judge(headers: Headers, { etag, lastModified }: Validators): Verdict {
  const match = headers.get("if-match");
  const unmodifiedSince = match === null ? secondsOf(headers.get("if-unmodified-since")) : null;
  if (match !== null && !lists(match, etag, "strong")) return "failed";
  if (unmodifiedSince !== null) {
    if (lastModified === undefined) return "proceed";
    if (lastModified !== null && wholeSeconds(lastModified) > unmodifiedSince) return "failed";
  }
  const noneMatch = headers.get("if-none-match");
  if (noneMatch !== null) return lists(noneMatch, etag, "weak") ? "not-modified" : "proceed";
  const modifiedSince = secondsOf(headers.get("if-modified-since"));
  if (modifiedSince === null || lastModified === null || lastModified === undefined) return "proceed";
  return wholeSeconds(lastModified) <= modifiedSince ? "not-modified" : "proceed";
}

/** `unread`: it names a date, so that what was asked for depends on the file's own. */
export function ifRange(headers: Headers, { etag, lastModified }: Validators): "holds" | "fails" | "unread" {
  const condition = headers.get("if-range")?.trim();
  if (condition === undefined || condition === etag) return "holds";
  if (/^(W\/)?"/.test(condition)) return "fails";
  const seconds = secondsOf(condition);
  if (seconds === null || lastModified === null) return "fails";
  if (lastModified === undefined) return "unread";
  return wholeSeconds(lastModified) === seconds ? "holds" : "fails";
}

function lists(header: string, etag: string, comparison: "strong" | "weak"): boolean {
  if (header.trim() === "*") return true;
  const each = header.split(",").map((part) => part.trim());
  return each.some((part) => (comparison === "weak" ? part.replace(/^W\//, "") : part) === etag);
}

const wholeSeconds = (date: Date) => Math.floor(date.getTime() / 1000);

/** null for what is no date: such a condition is ignored. */
function secondsOf(header: string | null): number | null {
  const atMs = Date.parse(header ?? "");
  return Number.isFinite(atMs) ? Math.floor(atMs / 1000) : null;
}
