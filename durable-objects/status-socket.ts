/** Sockets of people who watch one asset: a snapshot on connect, every change after, progress at most 4 times a second. */
import type { SingleFrame, StatusFrame } from "../schemas/api.ts";
import type { ObjectFrame } from "../schemas/runner-protocol.ts";

export const progressIntervalMs = 250;
/** To the feeds of many assets: a few hundred encodes at once must not swamp the one object that all report to. */
export const feedProgressIntervalMs = 1_000;

/** Never throws: a socket that is gone is no reason to fail the change that it would have been told of. */
export function sendFrame(socket: WebSocket, frame: StatusFrame | ObjectFrame): void {
  try {
    socket.send(JSON.stringify(frame));
  } catch {
    // A socket that is closing: its close event follows.
  }
}

export function broadcast(sockets: Iterable<WebSocket>, frame: SingleFrame): void {
  const text = JSON.stringify(frame);
  for (const socket of sockets) {
    try {
      socket.send(text);
    } catch {
      // As above.
    }
  }
}

/** Keeps only the newest of what comes faster than `intervalMs`; the last one is never lost. */
export class Throttle<Value> {
  readonly #intervalMs: number;
  readonly #emit: (value: Value) => void;
  readonly #nowMs: () => number;
  #lastMs = 0;
  #pending: { value: Value } | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(intervalMs: number, nowMs: () => number, emit: (value: Value) => void) {
    this.#intervalMs = intervalMs;
    this.#nowMs = nowMs;
    this.#emit = emit;
  }

  offer(value: Value): void {
    const waitMs = this.#lastMs + this.#intervalMs - this.#nowMs();
    if (waitMs <= 0 && this.#timer === null) {
      this.#lastMs = this.#nowMs();
      this.#emit(value);
      return;
    }
    this.#pending = { value };
    this.#timer ??= setTimeout(() => this.flush(), Math.max(0, waitMs));
  }

  /** Emits what waits, now: before a frame that must not be overtaken. */
  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#pending === null) return;
    const { value } = this.#pending;
    this.#pending = null;
    this.#lastMs = this.#nowMs();
    this.#emit(value);
  }
}
