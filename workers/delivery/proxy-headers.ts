/** The headers of a delivered proxy. Pure. */
import type { PlaybackTarget } from "../playback-url.ts";
import type { ByteSpan } from "./byte-range.ts";

const YEAR_SECONDS = 365 * 24 * 60 * 60;

/**
 * A job's rendition never changes its bytes, whichever tier they come from: so its name is its validator, and a player
 * keeps its ranges when a proxy moves from Wasabi to R2 between two of them.
 */
export function proxyEtag(target: PlaybackTarget): string {
  return `"${target.jobId}-${target.quality}"`;
}

export const corsHeaders = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers":
    "content-range, content-length, content-disposition, accept-ranges, etag, last-modified, x-served-from, " +
    "x-cache, x-request-id, retry-after",
  "cross-origin-resource-policy": "cross-origin",
} as const;

export const preflightHeaders = {
  ...corsHeaders,
  "access-control-allow-methods": "GET, HEAD, OPTIONS",
  "access-control-allow-headers": "range, if-range, if-match, if-none-match, if-modified-since, if-unmodified-since",
  "access-control-max-age": "86400",
} as const;

/** What a 200, a 206 and a 304 share. Kept by the viewer's own cache at most until the URL ends. */
export function cacheHeaders(target: PlaybackTarget, nowMs: number): Record<string, string> {
  const leftSeconds = Math.max(0, target.expiresAtSeconds - Math.ceil(nowMs / 1000));
  return {
    etag: proxyEtag(target),
    "cache-control": `private, max-age=${Math.min(YEAR_SECONDS, leftSeconds)}, immutable`,
  };
}

export function contentHeaders(
  target: PlaybackTarget,
  content: { sizeBytes: number; span: ByteSpan; partial: boolean; lastModified: Date | null },
): Record<string, string> {
  const { from, to } = content.span;
  return {
    "content-type": "video/mp4",
    "content-length": String(to - from + 1),
    "accept-ranges": "bytes",
    "x-content-type-options": "nosniff",
    ...(content.partial ? { "content-range": `bytes ${from}-${to}/${content.sizeBytes}` } : {}),
    ...(content.lastModified === null ? {} : { "last-modified": content.lastModified.toUTCString() }),
    ...(target.downloadName === null ? {} : { "content-disposition": attachment(target.downloadName) }),
  };
}

/** RFC 6266: an ASCII name for old clients, the true one beside it. */
function attachment(name: string): string {
  const ascii = name.replace(/[^\x20-\x7e]|["\\%]/gu, "_");
  const encoded = encodeURIComponent(name).replace(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`;
}
