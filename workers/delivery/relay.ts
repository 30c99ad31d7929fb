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
  /**
   * Ends the body from outside, by its tier. Null where the tier offers no way: a small one goes out as it came then, since any
   * look at it would cost more than the bytes do. Its source has announced its length, so that the platform breaks the
   * response where it ends early.
   */
  giveUp: ((cause: Error) => void) | null;
  onBytes(count: number): void;
  /** Tiers answered and broke off until no more are asked. */
  onExhausted(cause: unknown): void;
  /** The response was broken off, by whichever side. */
  onBroken(cause: unknown): void;
}

/** Network streams come in pieces of 4 KiB, each of which would cost a turn; many responses are under way at once. */
const CHUNK_BYTES = 128 * 1024;
/** What a source may take for one chunk: below some 4 KB/s it counts as silent. */
const SILENCE_MS = 30_000;
/** More would be a tier that answers and breaks off for ever. */
const MOST_RESUMPTIONS = 3;
/** A source that has supplied so much works: its next fault is the first of its kind. */
const PROGRESS_BYTES = 8 * 1024 * 1024;

/**
 * What a small one may take in all: whether its tier is silent or its viewer does not read cannot be told from outside. Below
 * some 2 KB/s nobody watches anything.
 */
const SMALL_MS = 120_000;

/** What a seeking player asks for at a time: asked for again, it is answered by the tier that works. */
export const SMALL_BYTES = 256 * 1024;

/** `ended`: when all was handed on, or it was broken off; null when there is nothing more to count then. */
export interface Relayed {
  stream: ReadableStream<Uint8Array>;
  ended: Promise<void> | null;
}

export function relayed(first: ReadableStream<Uint8Array>, relay: Relay): Relayed {
  const lengthBytes = relay.span.to - relay.span.from + 1;
  if (lengthBytes <= SMALL_BYTES) {
    relay.onBytes(lengthBytes);
    return { stream: relay.giveUp === null ? first : watched(first, lengthBytes, relay, relay.giveUp), ended: null };
  }
  const { readable, writable } = new FixedLengthStream(lengthBytes);
  const writer = writable.getWriter();
  const ended = pump(first, relay, writer).catch((error: unknown) => {
    relay.onBroken(error);
    return writer.abort(error).catch(() => undefined);
  });
  return { stream: readable, ended };
}

/** Past our own code, under one timer for all of it. */
function watched(
  first: ReadableStream<Uint8Array>,
  lengthBytes: number,
  { onBroken }: Pick<Relay, "onBroken">,
  giveUp: (cause: Error) => void,
): ReadableStream<Uint8Array> {
  const { readable, writable } = new FixedLengthStream(lengthBytes);
  const timer = setTimeout(() => giveUp(new Error(`it did not end within ${SMALL_MS} ms`)), SMALL_MS);
  void first
    .pipeTo(writable)
    .catch(onBroken)
    .finally(() => clearTimeout(timer));
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
    if (copied.bytes >= PROGRESS_BYTES) resumptions = 0;
    if (resumptions === MOST_RESUMPTIONS) {
      relay.onExhausted(copied.fault);
      throw copied.fault;
    }
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
  const watch = watchSilence();
  let bytes = 0;
  try {
    while (bytes < wantedBytes) {
      let chunk: Uint8Array | null;
      try {
        chunk = await watch.during(reader.next(wantedBytes - bytes));
      } catch (fault) {
        return { bytes, fault };
      }
      if (chunk === null) return { bytes, fault: new Error("the body ended early") };
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

/**
 * One timer for the whole body, not one a chunk. Each read begins the silence again, so that neither a slow source nor a
 * viewer that does not read looks like one.
 */
function watchSilence() {
  let ticks = 0;
  let giveUp = (_fault: Error): void => undefined;
  const timer = setInterval(() => {
    ticks += 1;
    // The first tick comes at any moment of its half.
    if (ticks === 3) giveUp(new Error(`nothing came for ${SILENCE_MS} ms`));
  }, SILENCE_MS / 2);
  return {
    /** @throws what the read does, or once it has taken too long, even if it never ends. */
    during<Value>(read: Promise<Value>): Promise<Value> {
      ticks = 0;
      // Not Promise.race with one long promise: that would keep every chunk in memory until the body ends.
      return new Promise((resolve, reject) => {
        giveUp = reject;
        read.then(resolve, reject);
      });
    },
    stop: () => clearInterval(timer),
  };
}
