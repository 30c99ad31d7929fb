/**
 * Serves what is in memory of a finished file as if the whole file were there, on the loopback under a random path. What
 * lies between the pieces reads as zeros, as in a sparse file: a decoder that needed it would fail.
 */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import type { Excerpt, Piece } from "./mp4/excerpt.ts";
import { openRangeServer, type RangeServer } from "./range-server.ts";

const ZEROS = new Uint8Array(64 * 1024);

export function openExcerptServer({ sizeBytes, pieces }: Excerpt): Promise<RangeServer> {
  return openRangeServer({
    sizeBytes,
    contentType: "video/mp4",
    send: (response, from, to, signal) => send(response, pieces, from, to, signal),
    // Whoever reads finds it cut, and says so.
    onFailure: () => {},
  });
}

async function send(
  response: ServerResponse,
  pieces: readonly Piece[],
  from: number,
  to: number,
  signal: AbortSignal,
): Promise<void> {
  for (let at = from; at <= to; ) {
    const bytes = bytesAt(pieces, at, to);
    at += bytes.length;
    if (!response.write(bytes)) await once(response, "drain", { signal });
  }
}

/** At least one byte, and none beyond `to`. */
export function bytesAt(pieces: readonly Piece[], at: number, to: number): Uint8Array {
  const held = pieces.find(({ offsetBytes, bytes }) => offsetBytes <= at && at < offsetBytes + bytes.length);
  if (held) return held.bytes.subarray(at - held.offsetBytes, to + 1 - held.offsetBytes).subarray(0, ZEROS.length);
  const next = Math.min(to + 1, ...pieces.map((piece) => piece.offsetBytes).filter((offset) => offset > at));
  return ZEROS.subarray(0, next - at);
}
