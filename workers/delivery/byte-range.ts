/** The Range header of RFC 9110: what was asked for, and what that is in a file of a known size. Pure. */

/** `whole`: no range, or one to be ignored (another unit, bad syntax, several ranges). */
export type RangeSpec =
  | { kind: "whole" }
  | { kind: "from"; first: number; last: number | null }
  | { kind: "suffix"; lengthBytes: number };

/** Inclusive, as in Content-Range. */
export interface ByteSpan {
  from: number;
  to: number;
}

export const whole: RangeSpec = { kind: "whole" };

export function parseRange(header: string | null): RangeSpec {
  const match = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(header?.trim() ?? "");
  if (match === null) return whole;
  const [, first = "", last = ""] = match;
  // Beyond 15 digits numbers lose exactness, and no file is that long.
  if (first.length > 15) return { kind: "from", first: Number.MAX_SAFE_INTEGER, last: null };
  if (first === "" && last === "") return whole;
  if (first === "") {
    return { kind: "suffix", lengthBytes: last.length > 15 ? Number.MAX_SAFE_INTEGER : Number(last) };
  }
  if (last === "" || last.length > 15) return { kind: "from", first: Number(first), last: null };
  return Number(first) > Number(last) ? whole : { kind: "from", first: Number(first), last: Number(last) };
}

/** @returns null when the range lies outside the file (416) */
export function spanOf(spec: RangeSpec, sizeBytes: number): ByteSpan | null {
  switch (spec.kind) {
    case "whole":
      return { from: 0, to: sizeBytes - 1 };
    case "from":
      if (spec.first >= sizeBytes) return null;
      return { from: spec.first, to: Math.min(spec.last ?? sizeBytes - 1, sizeBytes - 1) };
    case "suffix":
      if (spec.lengthBytes === 0 || sizeBytes === 0) return null;
      return { from: Math.max(0, sizeBytes - spec.lengthBytes), to: sizeBytes - 1 };
  }
}
