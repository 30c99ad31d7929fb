/**
 * The loopback HTTP server that ffmpeg and ffprobe read the original from. ffmpeg takes a source that breaks off for
 * one that ended, and puts its URL into `ps` and its messages; this hides the presigned URL, mends what can be mended,
 * and remembers what could not, whatever ffmpeg says afterwards.
 */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import { openRangeServer } from "./range-server.ts";
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
} & Partial<Pick<SourceReaderOptions, "stallTimeoutMs" | "maxFruitlessTries" | "sleep">>;

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
const MAX_WINDOW_BYTES = 4 * 1024 * 1024;

export async function openSourceProxy(options: SourceProxyOptions): Promise<SourceProxy> {
  const reader = new SourceReader({
    location: options.location,
    freshUrl: options.freshUrl,
    stallTimeoutMs: options.stallTimeoutMs ?? 30_000,
    maxFruitlessTries: options.maxFruitlessTries ?? 8,
    sleep: options.sleep ?? ((ms, signal) => wait(ms, undefined, { signal })),
  });
  let failure: SourceFailure | null = null;
  const server = await openRangeServer({
    sizeBytes: options.location.sizeBytes,
    contentType: "application/octet-stream",
    send: (response, from, to, signal) => stream(response, reader, from, to, signal),
    onFailure: (error) => {
      if (failure) return;
      failure = error instanceof SourceFailure ? error : unexpected(error);
      options.onFailure?.(failure);
    },
  });
  return {
    url: server.url,
    failure: () => failure,
    reading: () => reader.pendingReads > 0,
    counts: () => reader.counts,
    close: async () => {
      await server.close();
      reader.close();
    },
  };
}

function unexpected(error: unknown): SourceFailure {
  const name = error instanceof Error ? error.name : "error";
  return new SourceFailure("SOURCE_UNREADABLE", `Reading the original failed (${name}).`, true);
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
  // Of the largest size: new memory for each window costs about as much as reading into it.
  const spare: Uint8Array[] = [];
  const fetchNext = () => {
    const end = Math.min(to, at + windowBytes - 1);
    const room = windowBytes < MAX_WINDOW_BYTES ? undefined : (spare.pop() ?? new Uint8Array(MAX_WINDOW_BYTES));
    const read = reader.read(at, end, signal, room).then((bytes) => ({ bytes, room }));
    // Awaited one window later; until then a failure must not count as unhandled.
    read.catch(() => {});
    at = end + 1;
    windowBytes = Math.min(MAX_WINDOW_BYTES, windowBytes * 2);
    return read;
  };
  const ahead: ReturnType<typeof fetchNext>[] = [];
  while (at <= to || ahead.length > 0) {
    const { bytes, room } = await (ahead.shift() ?? fetchNext());
    // Nothing ahead of the first windows, until the reader has shown that it reads on.
    if (at <= to && windowBytes > FIRST_WINDOW_BYTES * 2) ahead.push(fetchNext());
    const sent = () => {
      if (room) spare.push(room);
    };
    if (!response.write(bytes, sent)) await once(response, "drain", { signal });
  }
}
