/**
 * Streams one span to the viewer, whichever tier breaks off on the way: what is still missing is read elsewhere and
 * follows seamlessly. What nobody can supply breaks the response; it never ends as a short video.
 */
import type { ByteSpan } from "./byte-range.ts";

export interface Relay {
  span: ByteSpan;
  /** The rest, from this byte on. Its failure, or null, ends the response with an error. */
  resume(fromByte: number, cause: unknown): Promise<ReadableStream<Uint8Array> | null>;
  onBytes(count: number): void;
}

const SILENCE_MS = 30_000;
/** More would be a tier that answers and breaks off for ever. */
const MOST_RESUMPTIONS = 3;

export function relayed(first: ReadableStream<Uint8Array>, relay: Relay): ReadableStream<Uint8Array> {
  const { readable, writable } = new FixedLengthStream(relay.span.to - relay.span.from + 1);
  const writer = writable.getWriter();
  void pump(first, relay, writer).catch((error: unknown) => writer.abort(error).catch(() => undefined));
  return readable;
}

type Writer = WritableStreamDefaultWriter<Uint8Array>;

async function pump(first: ReadableStream<Uint8Array>, relay: Relay, writer: Writer): Promise<void> {
  const { from, to } = relay.span;
  let next = from;
  let body: ReadableStream<Uint8Array> | null = first;
  for (let resumptions = 0; body !== null; resumptions++) {
    const copied = await copy(body, writer, to + 1 - next, relay.onBytes);
    next += copied.bytes;
    if (next > to) return writer.close();
    if (resumptions === MOST_RESUMPTIONS) throw copied.fault;
    body = await relay.resume(next, copied.fault);
  }
  throw new Error("no tier has the rest of this file");
}

/** Ends when all is there, or where the source breaks off. @throws what the viewer's side does */
async function copy(
  body: ReadableStream<Uint8Array>,
  writer: Writer,
  wantedBytes: number,
  onBytes: (count: number) => void,
): Promise<{ bytes: number; fault: unknown }> {
  const reader = body.getReader();
  const watch = watchSilence(() => reader.cancel(silent()).catch(() => undefined));
  let bytes = 0;
  try {
    while (bytes < wantedBytes) {
      let piece: ReadableStreamReadResult<Uint8Array>;
      watch.reading = true;
      try {
        piece = await reader.read();
      } catch (fault) {
        return { bytes, fault };
      }
      watch.reading = false;
      if (piece.done) return { bytes, fault: watch.fired ? silent() : new Error("the body ended early") };
      if (bytes + piece.value.length > wantedBytes) throw new Error("the body is longer than it said");
      // Before it is written: from then on the piece is the stream's.
      const { length } = piece.value;
      await writer.write(piece.value);
      bytes += length;
      onBytes(length);
    }
    return { bytes, fault: null };
  } finally {
    watch.stop();
    void reader.cancel().catch(() => undefined);
  }
}

const silent = () => new Error(`nothing came for ${SILENCE_MS} ms`);

/** One timer for the whole body: a viewer that does not read is no silence of the source. */
function watchSilence(onSilence: () => void) {
  const watch = { reading: false, fired: false, stop: () => clearInterval(timer) };
  let wasReading = false;
  const timer = setInterval(() => {
    if (watch.reading && wasReading) {
      watch.fired = true;
      onSilence();
    }
    wasReading = watch.reading;
  }, SILENCE_MS / 2);
  return watch;
}
