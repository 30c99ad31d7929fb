/**
 * Stands where Cloudflare's cache stands, between the worker and every origin, and does to requests that may be cached what it
 * does: a HEAD is sent as GET, conditions and ranges are dropped, and what came once may come again after it has changed.
 * Only requests that say `cache: "no-store"` pass untouched.
 */

/** Cached by default, whatever the origin says (developers.cloudflare.com/cache/concepts/default-cache-behavior). */
const cachedExtensions = new Set(
  (
    "7z avi avif apk bin bmp bz2 class css csv dmg doc docx ejs eot eps exe flac gif gz ico iso jar jpg jpeg js mid midi mkv " +
    "mp3 mp4 ogg otf pdf pict pls png ppt pptx ps rar svg svgz swf tar tif tiff ttf webm webp woff woff2 xls xlsx zip zst"
  ).split(" "),
);

const dropped = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range"];
const mostKept = 100;
const largestKeptBytes = 4 * 1024 ** 2;

interface Kept {
  headers: [string, string][];
  bytes: ArrayBuffer;
}

const kept = new Map<string, Kept>();

function isCached(request: Request): boolean {
  if (request.method !== "GET" && request.method !== "HEAD") return false;
  // What `cache: "no-store"` becomes on its way; a header of the same name does not do it.
  if ((request.cf as { cacheControl?: string } | undefined)?.cacheControl === "no-store") return false;
  const extension = /\.([a-z0-9]+)$/.exec(new URL(request.url).pathname.toLowerCase())?.[1] ?? "";
  return cachedExtensions.has(extension);
}

async function throughCache(request: Request): Promise<Response> {
  const { method, url } = request;
  const answer = (found: Kept) =>
    new Response(method === "HEAD" ? null : found.bytes, { headers: found.headers, encodeBody: "manual" });
  const before = kept.get(url);
  if (before !== undefined) return answer(before);
  const headers = new Headers(request.headers);
  for (const name of dropped) headers.delete(name);
  const response = await fetch(url, { headers, redirect: "manual", encodeResponseBody: "manual" });
  const sizeBytes = Number(response.headers.get("content-length") ?? Number.NaN);
  if (response.status !== 200 || !(sizeBytes <= largestKeptBytes) || kept.size >= mostKept) {
    return method === "HEAD" ? new Response(null, response) : response;
  }
  const found = { headers: [...response.headers], bytes: await response.arrayBuffer() };
  kept.set(url, found);
  return answer(found);
}

export default {
  fetch: (request) => (isCached(request) ? throughCache(request) : fetch(request)),
} satisfies ExportedHandler;
