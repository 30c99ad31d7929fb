/** Sockets of people who watch one asset: a snapshot on connect, every change after, progress at most 4 times a second. */
import { z } from "zod";
import type { SingleFrame, StatusFrame } from "../schemas/api.ts";
import type { Asset } from "../schemas/asset.ts";
import { TermsByQuality } from "../schemas/retention.ts";
import type { ObjectFrame } from "../schemas/runner-protocol.ts";
import { retained } from "../workers/stores/retained.ts";
import { tokenOf } from "./socket-token.ts";

const progressIntervalMs = 250;
/** To the feeds of many assets: a few hundred encodes at once must not swamp the one object that all report to. */
const feedProgressIntervalMs = 1_000;

type Emit = (frame: SingleFrame) => void;
export const watcherThrottle = (emit: Emit) => new Throttle(progressIntervalMs, Date.now, emit);
export const feedThrottle = (emit: Emit) => new Throttle(feedProgressIntervalMs, Date.now, emit);

/** Never throws: a socket that is gone is no reason to fail the change that it would have been told of. */
export function sendFrame(socket: WebSocket, frame: StatusFrame | ObjectFrame): void {
  try {
    socket.send(JSON.stringify(frame));
  } catch {
    // A socket that is closing: its close event follows.
  }
}

/** How long proxies stay, as the door knew it when the watcher came: the object asks no database for the sake of a frame. */
const Watcher = z.object({ terms: TermsByQuality.nullable() });

/** @param query of the upgrade's URL; `terms`: JSON of TermsByQuality */
export function welcome(socket: WebSocket, query: URLSearchParams, asset: Asset): void {
  const watcher = Watcher.parse({ terms: JSON.parse(query.get("terms") ?? "null") });
  socket.serializeAttachment({ ...watcher, ...tokenOf(query, Date.now()) });
  sendFrame(socket, { type: "snapshot", asset: retained(asset, watcher.terms) });
}

export function broadcast(sockets: Iterable<WebSocket>, frame: SingleFrame): void {
  for (const socket of sockets) sendFrame(socket, frame.type === "asset" ? seenBy(socket, frame.asset) : frame);
}

function seenBy(socket: WebSocket, asset: Asset): SingleFrame {
  // A socket that an earlier build accepted has none.
  const watcher = Watcher.safeParse(socket.deserializeAttachment()).data;
  return { type: "asset", asset: retained(asset, watcher?.terms ?? null) };
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
