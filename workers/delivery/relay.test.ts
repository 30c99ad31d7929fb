/** The relay alone, with its clock in our hands: slow sources, silent ones, and those that break off again and again. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Relay, relayed } from "./relay.ts";

const pieceBytes = 128 * 1024;
const partBytes = 8 * 1024 * 1024;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval"] });
});

afterEach(() => {
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

/** Every byte tells which piece it is of. */
const byteAt = (place: number) => Math.floor(place / pieceBytes) % 251;

interface Source {
  body: ReadableStream<Uint8Array>;
  cancelled: boolean;
}

/** One piece a second, in the kind of stream that the network has; `endsAt`: it breaks off there, or falls silent. */
function source(from: number, to: number, endsAt?: { byte: number; how: "break" | "silence" }): Source {
  let next = from;
  const made: Source = {
    cancelled: false,
    body: new ReadableStream({
      type: "bytes",
      async pull(controller) {
        const count = Math.min(pieceBytes, Math.min(to + 1, endsAt?.byte ?? to + 1) - next);
        if (count === 0) {
          if (endsAt?.how === "silence") return new Promise<void>(() => undefined);
          return controller.error(new Error("broken off"));
        }
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        if (made.cancelled) return;
        controller.enqueue(new Uint8Array(count).fill(byteAt(next)));
        next += count;
        if (next > to) controller.close();
      },
      cancel() {
        made.cancelled = true;
      },
    }),
  };
  return made;
}

/** A relay of so many bytes whose rests `resume` makes. */
function relayOf(lengthBytes: number, resume: (fromByte: number) => Source | null) {
  const told = { resumedAt: [] as number[], causes: [] as string[], bytes: 0, broken: [] as string[], exhausted: 0 };
  const relay: Relay = {
    span: { from: 0, to: lengthBytes - 1 },
    giveUp: null,
    async resume(fromByte, cause) {
      told.resumedAt.push(fromByte);
      told.causes.push(String(cause));
      return resume(fromByte)?.body ?? null;
    },
    onBytes(count) {
      told.bytes += count;
    },
    onExhausted() {
      told.exhausted += 1;
    },
    onBroken: (cause) => told.broken.push(String(cause)),
  };
  return { relay, told };
}

const neverResumed = (): never => {
  throw new Error("nothing was to be resumed");
};

/** Reads to the end while the clock runs; each chunk must be of its place. */
async function view(stream: ReadableStream<Uint8Array>): Promise<number> {
  let ended = false;
  const reading = (async () => {
    let next = 0;
    for await (const chunk of stream) {
      if (chunk.at(0) !== byteAt(next)) throw new Error(`other bytes at ${next}`);
      next += chunk.length;
      if (chunk.at(-1) !== byteAt(next - 1)) throw new Error(`other bytes before ${next}`);
    }
    return next;
  })().finally(() => {
    ended = true;
  });
  reading.catch(() => undefined);
  for (let second = 0; second < 3_600 && !ended; second++) await vi.advanceTimersByTimeAsync(1_000);
  return reading;
}

test("a source that is slower than its viewer is never taken for a silent one", async () => {
  const lengthBytes = 200 * pieceBytes;
  const { relay, told } = relayOf(lengthBytes, neverResumed);
  expect(await view(relayed(source(0, lengthBytes - 1).body, relay).stream)).toBe(lengthBytes);
  expect(told).toEqual({ resumedAt: [], causes: [], bytes: lengthBytes, broken: [], exhausted: 0 });
});

test("a viewer who pauses for an hour is no silence of the source", async () => {
  const lengthBytes = 10 * pieceBytes;
  const { relay, told } = relayOf(lengthBytes, neverResumed);
  const stream = relayed(source(0, lengthBytes - 1).body, relay).stream;
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(await view(stream)).toBe(lengthBytes);
  expect(told).toEqual({ resumedAt: [], causes: [], bytes: lengthBytes, broken: [], exhausted: 0 });
});

test("a source that falls silent is let go, and carried on elsewhere to the byte", async () => {
  const lengthBytes = 40 * pieceBytes;
  const silent = source(0, lengthBytes - 1, { byte: 20 * pieceBytes, how: "silence" });
  const { relay, told } = relayOf(lengthBytes, (fromByte) => source(fromByte, lengthBytes - 1));
  expect(await view(relayed(silent.body, relay).stream)).toBe(lengthBytes);
  expect(told.resumedAt).toEqual([20 * pieceBytes]);
  expect(told.causes).toEqual(["Error: nothing came for 30000 ms"]);
  expect(told.broken).toEqual([]);
  expect(silent.cancelled).toBe(true);
});

test("a silence that nobody can end breaks the response", async () => {
  const lengthBytes = 4 * pieceBytes;
  const { readable, writable } = new IdentityTransformStream();
  const { relay, told } = relayOf(lengthBytes, () => null);
  await expect(view(relayed(readable, relay).stream)).rejects.toThrow("no tier has the rest of this file");
  expect(told.resumedAt).toEqual([0]);
  expect(told.broken).toEqual(["Error: no tier has the rest of this file"]);
  await expect(writable.getWriter().write(new Uint8Array(1))).rejects.toThrow();
});

test("a long viewing survives any number of faults, as long as each source supplied a good part", async () => {
  const lengthBytes = 5 * partBytes;
  const breakingAfter = (fromByte: number) =>
    source(fromByte, lengthBytes - 1, { byte: Math.min(lengthBytes, fromByte + partBytes), how: "break" });
  const { relay, told } = relayOf(lengthBytes, breakingAfter);
  expect(await view(relayed(breakingAfter(0).body, relay).stream)).toBe(lengthBytes);
  expect(told.resumedAt).toEqual([1, 2, 3, 4].map((part) => part * partBytes));
});

describe("a small answer", () => {
  const lengthBytes = 2 * pieceBytes;

  /** As a fetched body is: whoever holds the connection can end it. */
  function given(sentBytes: number) {
    const { relay, told } = relayOf(lengthBytes, neverResumed);
    const causes: string[] = [];
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0; at < sentBytes; at += pieceBytes) {
          controller.enqueue(new Uint8Array(pieceBytes).fill(byteAt(at)));
        }
        if (sentBytes === lengthBytes) controller.close();
        relay.giveUp = (cause) => {
          causes.push(cause.message);
          controller.error(cause);
        };
      },
    });
    return { told, causes, stream: relayed(body, relay).stream };
  }

  test("that its tier falls silent in is broken off, and says why", async () => {
    const { told, causes, stream } = given(pieceBytes);
    await expect(view(stream)).rejects.toThrow();
    expect(causes).toEqual(["it did not end within 120000 ms"]);
    await vi.waitFor(() => expect(told.broken).toHaveLength(1));
  });

  test("that ends in time is left alone afterwards", async () => {
    const { told, causes, stream } = given(lengthBytes);
    expect(await view(stream)).toBe(lengthBytes);
    await vi.advanceTimersByTimeAsync(600_000);
    expect({ causes, broken: told.broken }).toEqual({ causes: [], broken: [] });
  });
});

test("sources that break off after a little are given up after three more", async () => {
  const lengthBytes = 40 * pieceBytes;
  const breakingAfter = (fromByte: number) =>
    source(fromByte, lengthBytes - 1, { byte: fromByte + pieceBytes, how: "break" });
  const { relay, told } = relayOf(lengthBytes, breakingAfter);
  await expect(view(relayed(breakingAfter(0).body, relay).stream)).rejects.toThrow("broken off");
  expect(told.resumedAt).toEqual([1, 2, 3].map((piece) => piece * pieceBytes));
  expect(told.broken).toEqual(["Error: broken off"]);
  expect(told.exhausted).toBe(1);
});
