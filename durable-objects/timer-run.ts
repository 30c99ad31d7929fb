/**
 * What happens to timers that are due. Each becomes its event; one that cannot be read or decided, as a newer version left
 * it, rests for longer and longer: it must neither spin the alarm nor hold up the others, and goes on when that version is
 * back.
 */
import type { EventEnvelope } from "../schemas/event.ts";
import { log } from "../workers/log.ts";
import type { ApplyResult } from "./asset-door.ts";
import type { AssetStore } from "./asset-store.ts";
import { backoffMs } from "./machine/step-clock.ts";

/** For rows of a newer version, in the outbox too. */
export const restBackoff = { baseMs: 2 * 60_000, maxMs: 30 * 60_000 };
/** A timer whose event changes nothing is a bug; it must not spin the alarm. */
const futilePauseMs = 60_000;

export interface TimerPorts {
  store: AssetStore;
  commit(envelope: EventEnvelope): ApplyResult;
  random(): number;
  fileId: string | null;
}

export function elapseTimers(atMs: number, ports: TimerPorts): void {
  const { store } = ports;
  for (const timer of store.dueTimers(atMs)) {
    try {
      const { outcome } = ports.commit({ key: null, by: "timer", event: timer.event() });
      if (timer.rests > 0) store.dropTimer(timer.name);
      else if (outcome !== "applied") store.postponeTimer(timer.name, atMs, atMs + futilePauseMs);
    } catch (fault) {
      store.restTimer(timer, atMs + backoffMs(restBackoff, timer.rests + 1, ports.random()));
      log({ event: "asset.timer-rests", fileId: ports.fileId, name: timer.name }, fault);
    }
  }
}
