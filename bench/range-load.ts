/** Asks for ranges of one URL over connections that are kept: as fast as answers come, or at a rate of its own. */
import { setTimeout as sleep } from "node:timers/promises";
import { openRangeConnection, type RangeConnection } from "./range-connection.ts";

export interface RangeTarget {
  url: string;
  sizeBytes: number;
  rangeBytes: number;
}

/** Connections that wait for their next request: opened as they are needed, all closed at the end. */
function connectionPool({ url }: RangeTarget) {
  const all: RangeConnection[] = [];
  const idle: RangeConnection[] = [];
  return {
    take: () => {
      let kept = idle.pop();
      while (kept?.isOpen() === false) kept = idle.pop();
      if (kept !== undefined) return kept;
      const made = openRangeConnection(url);
      all.push(made);
      return made;
    },
    giveBack: (connection: RangeConnection) => idle.push(connection),
    close: () => {
      for (const connection of all) connection.close();
    },
  };
}

/** One range anywhere in the file. @throws for any answer but exactly that range */
async function readRange({ sizeBytes, rangeBytes }: RangeTarget, connection: RangeConnection): Promise<void> {
  const from = Math.floor(Math.random() * (sizeBytes - rangeBytes));
  await connection.read(from, from + rangeBytes - 1);
}

/** @returns requests per second, by that many clients who each wait for their answer before they ask again */
export async function closedLoop(
  target: RangeTarget,
  { connections, seconds }: { connections: number; seconds: number },
): Promise<number> {
  const pool = connectionPool(target);
  const startedAtMs = performance.now();
  const endsAtMs = startedAtMs + seconds * 1_000;
  let count = 0;
  const client = async () => {
    const connection = pool.take();
    while (performance.now() < endsAtMs) {
      await readRange(target, connection);
      count += 1;
    }
  };
  try {
    await Promise.all(Array.from({ length: connections }, client));
    return (count * 1_000) / (performance.now() - startedAtMs);
  } finally {
    pool.close();
  }
}

/**
 * Asks at fixed times, whether or not the answers keep up, and counts a request's time from when it was due: a server
 * that falls behind cannot hide it by being asked less.
 * @returns milliseconds, in order
 */
export async function openLoop(
  target: RangeTarget,
  { perSecond, seconds }: { perSecond: number; seconds: number },
): Promise<number[]> {
  const pool = connectionPool(target);
  const startedAtMs = performance.now();
  const count = Math.max(1, Math.floor(perSecond * seconds));
  const tookMs: number[] = [];
  const underway: Promise<void>[] = [];
  try {
    for (let index = 0; index < count; index++) {
      const dueAtMs = startedAtMs + (index * 1_000) / perSecond;
      const waitMs = dueAtMs - performance.now();
      if (waitMs > 0) await sleep(waitMs);
      const connection = pool.take();
      const asking = readRange(target, connection).then(() => {
        tookMs.push(performance.now() - dueAtMs);
        pool.giveBack(connection);
      });
      // Told below, with all others.
      asking.catch(() => undefined);
      underway.push(asking);
    }
    await Promise.all(underway);
    return tookMs.sort((a, b) => a - b);
  } finally {
    pool.close();
  }
}

/** Of sorted values, by nearest rank. */
export function percentile(sorted: readonly number[], percent: number): number {
  const value = sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)];
  if (value === undefined) throw new RangeError("nothing was measured");
  return value;
}
