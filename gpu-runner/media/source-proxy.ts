/**
 * The loopback HTTP server that ffmpeg and ffprobe read the original from. ffmpeg takes a source that breaks off for
 * one that ended, and puts its URL into `ps` and its messages; this hides the presigned URL, mends what can be mended,
 * and remembers what could not, whatever ffmpeg says afterwards.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import {
  type SourceCounts,
  SourceFailure,
  type SourceLocation,
  SourceReader,
  type SourceReaderOptions,
} from "./source-window.ts";

export type SourceProxyOptions = {
  location: SourceLocation;
  freshUrl: () => Promise<SourceLocation>;
  /** Called once, as soon as some range turned out to be undeliverable. */
  onFailure?: (failure: SourceFailure) => void;
} & Partial<Pick<SourceReaderOptions, "stallTimeoutMs" | "maxFruitlessTries" | "sleep" | "fetch">>;

export type SourceProxy = {
  /** What to give to ffmpeg. */
  url: string;
  /** The first range that could not be delivered. */
  failure: () => SourceFailure | null;
  /** Whether ffmpeg waits for the store. */
  reading: () => boolean;
  counts: () => Readonly<SourceCounts>;
  close: () => Promise<void>;
};

/**
 * Reads begin small, as a probe jumps about, and grow while they go on in sequence. Two windows a connection are in
 * memory at most: the one being written and the next.
 */
const FIRST_WINDOW_BYTES = 256 * 1024;
const MAX_WINDOW_BYTES = 8 * 1024 * 1024;

export async function openSourceProxy(options: SourceProxyOptions): Promise<SourceProxy> {
  const reader = new SourceReader({
    location: options.location,
    freshUrl: options.freshUrl,
    stallTimeoutMs: options.stallTimeoutMs ?? 30_000,
    maxFruitlessTries: options.maxFruitlessTries ?? 8,
    sleep: options.sleep ?? ((ms, signal) => wait(ms, undefined, { signal })),
    fetch: options.fetch ?? fetch,
  });
  const path = `/${randomBytes(24).toString("base64url")}`;
  const closing = new AbortController();
  let failure: SourceFailure | null = null;

  const server = createServer((request, response) => {
    const gone = new AbortController();
    response.on("close", () => gone.abort());
    const signal = AbortSignal.any([gone.signal, closing.signal]);
    serve(request, response, path, reader, signal).catch((error: unknown) => {
      // Destroyed, not ended: a short body must not look like a whole one.
      response.destroy();
      if (signal.aborted || failure) return;
      failure = error instanceof SourceFailure ? error : unexpected(error);
      options.onFailure?.(failure);
    });
  });
  await listen(server);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${path}`,
    failure: () => failure,
    reading: () => reader.pendingReads > 0,
    counts: () => reader.counts,
    close: async () => {
      closing.abort();
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function listen(server: Server): Promise<void> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
}

function unexpected(error: unknown): SourceFailure {
  const name = error instanceof Error ? error.name : "error";
  return new SourceFailure("SOURCE_UNREADABLE", `Reading the original failed (${name}).`, true);
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  reader: SourceReader,
  signal: AbortSignal,
): Promise<void> {
  const { sizeBytes } = reader.location;
  if (request.url !== path || (request.method !== "GET" && request.method !== "HEAD")) {
    response.writeHead(404).end();
    return;
  }
  const range = parseRange(request.headers.range, sizeBytes);
  if (range === "unsatisfiable") {
    response.writeHead(416, { "content-range": `bytes */${sizeBytes}` }).end();
    return;
  }
  const { from, to } = range ?? { from: 0, to: sizeBytes - 1 };
  response.writeHead(range ? 206 : 200, {
    "accept-ranges": "bytes",
    "content-type": "application/octet-stream",
    "content-length": to - from + 1,
    ...(range ? { "content-range": `bytes ${from}-${to}/${sizeBytes}` } : {}),
  });
  if (request.method === "HEAD" || to < from) {
    response.end();
    return;
  }
  await stream(response, reader, from, to, signal);
  response.end();
}

async function stream(
  response: ServerResponse,
  reader: SourceReader,
  from: number,
  to: number,
  signal: AbortSignal,
): Promise<void> {
  let at = from;
  let windowBytes = FIRST_WINDOW_BYTES;
  const fetchNext = () => {
    const end = Math.min(to, at + windowBytes - 1);
    const bytes = reader.read(at, end, signal);
    // Awaited one window later; until then a failure must not count as unhandled.
    bytes.catch(() => {});
    at = end + 1;
    windowBytes = Math.min(MAX_WINDOW_BYTES, windowBytes * 2);
    return bytes;
  };
  const ahead: Promise<Uint8Array>[] = [];
  while (at <= to || ahead.length > 0) {
    const bytes = await (ahead.shift() ?? fetchNext());
    // Nothing ahead of the first windows, until the reader has shown that it reads on.
    if (at <= to && windowBytes > FIRST_WINDOW_BYTES * 2) ahead.push(fetchNext());
    if (!response.write(bytes)) await once(response, "drain", { signal });
  }
}

/** One range, as ffmpeg asks for it; null when there is none. */
export function parseRange(
  header: string | undefined,
  sizeBytes: number,
): { from: number; to: number } | "unsatisfiable" | null {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return null;
  if (match[1] === "") {
    const suffix = Math.min(sizeBytes, Number(match[2]));
    return suffix > 0 ? { from: sizeBytes - suffix, to: sizeBytes - 1 } : "unsatisfiable";
  }
  const from = Number(match[1]);
  const to = match[2] === "" ? sizeBytes - 1 : Math.min(Number(match[2]), sizeBytes - 1);
  return from < sizeBytes && from <= to ? { from, to } : "unsatisfiable";
}
