/** Asks for ranges of one URL over connections that are kept: as fast as answers come, or at a rate of its own. */
import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

export interface RangeTarget {
  url: string;
  sizeBytes: number;
  rangeBytes: number;
}

const requestTimeoutMs = 60_000;

/** One range anywhere in the file. @returns its bytes' count @throws for any answer but exactly that range */
function readRange({ url, sizeBytes, rangeBytes }: RangeTarget, agent: Agent): Promise<void> {
  const from = Math.floor(Math.random() * (sizeBytes - rangeBytes));
  const range = `bytes=${from}-${from + rangeBytes - 1}`;
  return new Promise((resolve, reject) => {
    const asked = request(url, { agent, headers: { range }, timeout: requestTimeoutMs }, (response) => {
      let bytes = 0;
      response.on("data", (piece: Buffer) => {
        bytes += piece.length;
      });
      response.on("error", reject);
      response.on("end", () => {
        if (response.statusCode === 206 && bytes === rangeBytes) resolve();
        else reject(new Error(`${range} was answered ${response.statusCode} with ${bytes} bytes`));
      });
    });
    asked.on("timeout", () => asked.destroy(new Error("no answer in time")));
    asked.on("error", reject);
    asked.end();
  });
}

/** @returns requests per second, by that many clients who each wait for their answer before they ask again */
export async function closedLoop(
  target: RangeTarget,
  { connections, seconds }: { connections: number; seconds: number },
): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const startedAtMs = performance.now();
  const endsAtMs = startedAtMs + seconds * 1_000;
  let count = 0;
  const client = async () => {
    while (performance.now() < endsAtMs) {
      await readRange(target, agent);
      count += 1;
    }
  };
  try {
    await Promise.all(Array.from({ length: connections }, client));
    return (count * 1_000) / (performance.now() - startedAtMs);
  } finally {
    agent.destroy();
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
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  const startedAtMs = performance.now();
  const count = Math.max(1, Math.floor(perSecond * seconds));
  const tookMs: number[] = [];
  const underway: Promise<void>[] = [];
  try {
    for (let index = 0; index < count; index++) {
      const dueAtMs = startedAtMs + (index * 1_000) / perSecond;
      const waitMs = dueAtMs - performance.now();
      if (waitMs > 0) await sleep(waitMs);
      const asking = readRange(target, agent).then(() => {
        tookMs.push(performance.now() - dueAtMs);
      });
      // Told below, with all others.
      asking.catch(() => undefined);
      underway.push(asking);
    }
    await Promise.all(underway);
    return tookMs.sort((a, b) => a - b);
  } finally {
    agent.destroy();
  }
}

/** Of sorted values, by nearest rank. */
export function percentile(sorted: readonly number[], percent: number): number {
  const value = sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)];
  if (value === undefined) throw new RangeError("nothing was measured");
  return value;
}
