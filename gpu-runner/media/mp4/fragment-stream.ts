/**
 * Cuts a fragmented MP4 byte stream into its top-level boxes as they arrive: small boxes whole, mdat payload piece by
 * piece as it came, never gathered.
 */
import { CorruptFragmentError, concat, typeAt, view } from "./box.ts";

export type StreamPiece =
  /** `offsetBytes`: where the box began in the stream. */
  | { kind: "box"; type: string; offsetBytes: number; body: Uint8Array }
  | { kind: "mdat"; payloadOffsetBytes: number; payloadBytes: number }
  | { kind: "payload"; bytes: Uint8Array };

/** A moof of a ten-minute GOP at 60 fps stays below 1 MiB. */
const MAX_GATHERED_BYTES = 64 * 1024 * 1024;

/** Yields until the stream ends, which must be on a box boundary. Throws CorruptFragmentError otherwise. */
export async function* fragmentPieces(input: AsyncIterable<Uint8Array>): AsyncGenerator<StreamPiece, void, undefined> {
  let gathered: Uint8Array[] = [];
  let gatheredBytes = 0;
  let wantedBytes = 8;
  let payloadLeft = 0;
  let offsetBytes = 0;

  for await (const chunk of input) {
    let rest = chunk;
    while (rest.length > 0) {
      if (payloadLeft > 0) {
        const piece = rest.subarray(0, payloadLeft);
        payloadLeft -= piece.length;
        offsetBytes += piece.length;
        rest = rest.subarray(piece.length);
        yield { kind: "payload", bytes: piece };
        continue;
      }
      const taken = rest.subarray(0, wantedBytes - gatheredBytes);
      gathered.push(taken);
      gatheredBytes += taken.length;
      rest = rest.subarray(taken.length);
      if (gatheredBytes < wantedBytes) continue;

      const bytes = gathered.length === 1 && gathered[0] ? gathered[0] : concat(gathered);
      gathered = [bytes];
      const header = readHeader(bytes);
      if (header === "needs-16-bytes") {
        wantedBytes = 16;
        continue;
      }
      if (header.type === "mdat") {
        offsetBytes += header.headerBytes;
        payloadLeft = header.sizeBytes - header.headerBytes;
        yield {
          kind: "mdat",
          payloadOffsetBytes: offsetBytes,
          payloadBytes: payloadLeft,
        };
      } else if (gatheredBytes < header.sizeBytes) {
        if (header.sizeBytes > MAX_GATHERED_BYTES) {
          throw new CorruptFragmentError(`box ${header.type} is larger than any real one`);
        }
        wantedBytes = header.sizeBytes;
        continue;
      } else {
        // Copied: the pieces may be views of a buffer that its owner reuses.
        yield {
          kind: "box",
          type: header.type,
          offsetBytes,
          body: bytes.slice(header.headerBytes),
        };
        offsetBytes += header.sizeBytes;
      }
      gathered = [];
      gatheredBytes = 0;
      wantedBytes = 8;
    }
  }
  if (payloadLeft > 0 || gatheredBytes > 0) throw new CorruptFragmentError("the stream ended inside a box");
}

type Header = { type: string; sizeBytes: number; headerBytes: number };

function readHeader(bytes: Uint8Array): Header | "needs-16-bytes" {
  const short = view(bytes).getUint32(0);
  const type = typeAt(bytes, 4);
  const headerBytes = short === 1 ? 16 : 8;
  if (bytes.length < headerBytes) return "needs-16-bytes";
  const sizeBytes = short === 1 ? Number(view(bytes).getBigUint64(8)) : short;
  if (sizeBytes < headerBytes || !Number.isSafeInteger(sizeBytes) || !/^[\x20-\x7e]{4}$/.test(type)) {
    throw new CorruptFragmentError("the stream does not continue with a box");
  }
  return { type, sizeBytes, headerBytes };
}
