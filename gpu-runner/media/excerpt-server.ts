/**
 * Serves what is in memory of a finished file as if the whole file were there, on the loopback under a random path. What
 * lies between the pieces reads as zeros, as in a sparse file: a decoder that needed it would fail.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Excerpt, Piece } from "./mp4/excerpt.ts";
import { parseRange } from "./source-proxy.ts";

export type ExcerptServer = { url: string; close: () => Promise<void> };

const ZEROS = new Uint8Array(64 * 1024);

export async function openExcerptServer(excerpt: Excerpt): Promise<ExcerptServer> {
  const path = `/${randomBytes(24).toString("base64url")}`;
  const server = createServer((request, response) => {
    const gone = new AbortController();
    response.on("close", () => gone.abort());
    serve(request, response, path, excerpt, gone.signal).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${path}`,
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  { sizeBytes, pieces }: Excerpt,
  signal: AbortSignal,
): Promise<void> {
  if (request.url !== path || request.method !== "GET") return void response.writeHead(404).end();
  const range = parseRange(request.headers.range, sizeBytes);
  if (range === "unsatisfiable") {
    return void response.writeHead(416, { "content-range": `bytes */${sizeBytes}` }).end();
  }
  const { from, to } = range ?? { from: 0, to: sizeBytes - 1 };
  response.writeHead(range ? 206 : 200, {
    "accept-ranges": "bytes",
    "content-type": "video/mp4",
    "content-length": to - from + 1,
    ...(range ? { "content-range": `bytes ${from}-${to}/${sizeBytes}` } : {}),
  });
  for (let at = from; at <= to; ) {
    const bytes = bytesAt(pieces, at, to);
    at += bytes.length;
    if (!response.write(bytes)) await once(response, "drain", { signal });
  }
  response.end();
}

/** At least one byte, and none beyond `to`. */
export function bytesAt(pieces: readonly Piece[], at: number, to: number): Uint8Array {
  const held = pieces.find(({ offsetBytes, bytes }) => offsetBytes <= at && at < offsetBytes + bytes.length);
  if (held) return held.bytes.subarray(at - held.offsetBytes, to + 1 - held.offsetBytes).subarray(0, ZEROS.length);
  const next = Math.min(to + 1, ...pieces.map((piece) => piece.offsetBytes).filter((offset) => offset > at));
  return ZEROS.subarray(0, next - at);
}
