/**
 * States a track's average bit rate where players and editors look for it: in `btrt`, and for AAC in `esds` too. A
 * fragmented stream's header is written before the rate is known and says none, or the one that was asked for.
 */
import { type Box, box, CorruptFragmentError, children, concat, u32, view } from "./box.ts";

/** How many bytes of a sample entry come before its boxes. */
const FIXED_BYTES: Readonly<Record<string, number>> = { avc1: 78, mp4a: 28 };

/** `averageBps`: null leaves the description as it came, as do entries of other kinds. */
export function withBitRate(stsd: Box, averageBps: number | null): Uint8Array {
  const entries = children(stsd.body.subarray(8));
  if (averageBps === null || entries.length === 0) return stsd.bytes;
  return box("stsd", stsd.body.subarray(0, 8), ...entries.map((entry) => entryWithRate(entry, averageBps)));
}

function entryWithRate(entry: Box, averageBps: number): Uint8Array {
  const fixedBytes = FIXED_BYTES[entry.type];
  if (fixedBytes === undefined) return entry.bytes;
  const inner = children(entry.body.subarray(fixedBytes));
  const described = inner.map((b) => {
    if (b.type === "btrt") return box("btrt", ratesSet(b.body, 4, averageBps));
    return b.type === "esds" ? box("esds", esdsWithRate(b.body, averageBps)) : b.bytes;
  });
  if (!inner.some(({ type }) => type === "btrt")) described.push(box("btrt", u32(0, averageBps, averageBps)));
  return box(entry.type, entry.body.subarray(0, fixedBytes), ...described);
}

/** Highest and average rate, which lie one after the other. */
function ratesSet(bytes: Uint8Array, at: number, averageBps: number): Uint8Array {
  if (bytes.length < at + 8) throw new CorruptFragmentError("a bit rate is cut off");
  const copy = bytes.slice();
  view(copy).setUint32(at, Math.max(view(copy).getUint32(at), averageBps));
  view(copy).setUint32(at + 4, averageBps);
  return copy;
}

const ES_DESCRIPTOR = 3;
const DECODER_CONFIG = 4;

function esdsWithRate(body: Uint8Array, averageBps: number): Uint8Array {
  const stream = descriptorAt(body, 4);
  // An identifier and flags, which may announce more fields than ffmpeg ever writes.
  const plain = stream.tag === ES_DESCRIPTOR && (body[stream.at + 2] ?? 0xff) >> 5 === 0;
  const config = plain ? descriptorAt(body, stream.at + 3) : null;
  // Object type, stream type and 24 bits of buffer size come before the rates.
  return config?.tag === DECODER_CONFIG ? ratesSet(body, config.at + 5, averageBps) : concat([body]);
}

/** Lengths are written in 7 bits a byte; `at`: the first byte of the content. */
function descriptorAt(bytes: Uint8Array, from: number): { tag: number; at: number } {
  let at = from + 1;
  while ((bytes[at] ?? 0) & 0x80) at++;
  return { tag: bytes[from] ?? 0, at: at + 1 };
}
