/**
 * Cuts a fragmented MP4 byte stream into its top-level boxes as they arrive: small boxes whole, mdat payload piece by
 * piece as it came, never gathered. No memory of the input is held once more of it is asked for.
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
  const gatherer = new BoxGatherer();
  let payloadLeft = 0;
  let offsetBytes = 0;

  for await (const chunk of input) {
    let rest = chunk;
    while (rest.length > 0) {
      if (payloadLeft > 0) {
        const bytes = rest.subarray(0, payloadLeft);
        payloadLeft -= bytes.length;
        offsetBytes += bytes.length;
        rest = rest.subarray(bytes.length);
        yield { kind: "payload", bytes };
        continue;
      }
      const taken = gatherer.take(rest);
      rest = rest.subarray(taken.usedBytes);
      if (!taken.gathered) continue;
      const { header, body } = taken.gathered;
      if (header.type === "mdat") {
        offsetBytes += header.headerBytes;
        payloadLeft = header.sizeBytes - header.headerBytes;
        yield { kind: "mdat", payloadOffsetBytes: offsetBytes, payloadBytes: payloadLeft };
      } else {
        yield { kind: "box", type: header.type, offsetBytes, body };
        offsetBytes += header.sizeBytes;
      }
    }
  }
  if (payloadLeft > 0 || !gatherer.empty) throw new CorruptFragmentError("the stream ended inside a box");
}

/** Gathers a box until it is whole; of an mdat, only the header. */
class BoxGatherer {
  private pieces: Uint8Array[] = [];
  private gatheredBytes = 0;
  private wantedBytes = 8;

  get empty(): boolean {
    return this.gatheredBytes === 0;
  }

  take(bytes: Uint8Array): { usedBytes: number; gathered: { header: Header; body: Uint8Array } | null } {
    const used = bytes.subarray(0, this.wantedBytes - this.gatheredBytes);
    // Copied: a socket's chunk is a Buffer, of which `slice` would only be another view.
    this.pieces.push(new Uint8Array(used));
    this.gatheredBytes += used.length;
    if (this.gatheredBytes < this.wantedBytes) return { usedBytes: used.length, gathered: null };

    const whole = concat(this.pieces);
    const header = readHeader(whole);
    this.wantedBytes = header === "needs-16-bytes" ? 16 : wantedOf(header);
    if (header === "needs-16-bytes" || this.gatheredBytes < this.wantedBytes) {
      this.pieces = [whole];
      return { usedBytes: used.length, gathered: null };
    }
    this.pieces = [];
    this.gatheredBytes = 0;
    this.wantedBytes = 8;
    return { usedBytes: used.length, gathered: { header, body: whole.subarray(header.headerBytes) } };
  }
}

function wantedOf(header: Header): number {
  if (header.type === "mdat") return header.headerBytes;
  if (header.sizeBytes > MAX_GATHERED_BYTES) {
    throw new CorruptFragmentError(`box ${header.type} is larger than any real one`);
  }
  return header.sizeBytes;
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
