/** Serves one file by ranges on the loopback, as ffmpeg and ffprobe read it, under a path that only they are told. */
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { closeServer, listenOnLoopback } from "../loopback.ts";

export type RangeServerOptions = {
  sizeBytes: number;
  contentType: string;
  /** Writes bytes `from` to `to`, both inclusive. The signal: nobody wants them any more. */
  send: (response: ServerResponse, from: number, to: number, signal: AbortSignal) => Promise<void>;
  /** What kept `send` from delivering bytes that were wanted. */
  onFailure: (error: unknown) => void;
};

export type RangeServer = { url: string; close: () => Promise<void> };

export async function openRangeServer(options: RangeServerOptions): Promise<RangeServer> {
  const path = `/${randomBytes(24).toString("base64url")}`;
  const closing = new AbortController();
  const server = createServer((request, response) => {
    const gone = new AbortController();
    response.on("close", () => gone.abort());
    const signal = AbortSignal.any([gone.signal, closing.signal]);
    answer(request, response, path, options, signal).catch((error: unknown) => {
      const wanted = !signal.aborted;
      // Destroyed, not ended: a short body must not look like a whole one.
      response.destroy();
      if (wanted) options.onFailure(error);
    });
  });
  const port = await listenOnLoopback(server);
  return {
    url: `http://127.0.0.1:${port}${path}`,
    close: async () => {
      closing.abort();
      await closeServer(server);
    },
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  { sizeBytes, contentType, send }: RangeServerOptions,
  signal: AbortSignal,
): Promise<void> {
  if (request.url !== path || (request.method !== "GET" && request.method !== "HEAD")) {
    return void response.writeHead(404).end();
  }
  const range = parseRange(request.headers.range, sizeBytes);
  if (range === "unsatisfiable") {
    return void response.writeHead(416, { "content-range": `bytes */${sizeBytes}` }).end();
  }
  const { from, to } = range ?? { from: 0, to: sizeBytes - 1 };
  response.writeHead(range ? 206 : 200, {
    "accept-ranges": "bytes",
    "content-type": contentType,
    "content-length": to - from + 1,
    ...(range ? { "content-range": `bytes ${from}-${to}/${sizeBytes}` } : {}),
  });
  if (request.method === "GET" && from <= to) await send(response, from, to, signal);
  response.end();
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
