/**
 * Hands one span to the viewer. Of a large one, what a tier breaks off is read elsewhere and follows seamlessly; what
 * nobody can supply, and a small one that breaks off, breaks the response. It never ends as a short video.
 */
import { chunkReader } from "../stores/chunk-reader.ts";
import type { ByteSpan } from "./byte-range.ts";

export interface Relay {
  span: ByteSpan;
  /** The rest, from this byte on. Its failure, or null, ends the response with an error. */
  resume(fromByte: number, cause: unknown): Promise<ReadableStream<Uint8Array> | null>;
  onBytes(count: number): void;
  /** The response was broken off, by whichever side. */
  onBroken(cause: unknown): void;
}

/** Network streams come in pieces of 4 KiB, each of which would cost a turn; many responses are under way at once. */
const CHUNK_BYTES = 128 * 1024;
const SILENCE_MS = 30_000;
/** More would be a tier that answers and breaks off for ever. */
const MOST_RESUMPTIONS = 3;

/** What a seeking player asks for at a time: asked for again, it is answered by the tier that works. */
export const SMALL_BYTES = 256 * 1024;

export function relayed(first: ReadableStream<Uint8Array>, relay: Relay): ReadableStream<Uint8Array> {
  const lengthBytes = relay.span.to - relay.span.from + 1;
  const { readable, writable } = new FixedLengthStream(lengthBytes);
  if (lengthBytes <= SMALL_BYTES) {
    // Past our own code, which would cost more than the bytes do.
    relay.onBytes(lengthBytes);
    void first.pipeTo(writable).catch((error: unknown) => relay.onBroken(error));
    return readable;
  }
  const writer = writable.getWriter();
  void pump(first, relay, writer).catch((error: unknown) => {
    relay.onBroken(error);
    return writer.abort(error).catch(() => undefined);
  });
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
  const reader = chunkReader(body, CHUNK_BYTES);
  const watch = watchSilence(() => void reader.cancel(silent()).catch(() => undefined));
  let bytes = 0;
  try {
    while (bytes < wantedBytes) {
      let chunk: Uint8Array | null;
      watch.reading = true;
      try {
        chunk = await reader.next(wantedBytes - bytes);
      } catch (fault) {
        return { bytes, fault };
      }
      watch.reading = false;
      if (chunk === null) return { bytes, fault: watch.fired ? silent() : new Error("the body ended early") };
      // Before it is written: from then on the chunk is the stream's.
      const { length } = chunk;
      await writer.write(chunk);
      bytes += length;
      onBytes(length);
      reader.release(chunk);
    }
    return { bytes, fault: null };
  } finally {
    watch.stop();
    void reader.cancel("done").catch(() => undefined);
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
