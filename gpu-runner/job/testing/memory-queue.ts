/** Queues in memory. */
import type { TranscodeMessage } from "../../../schemas/runner-protocol.ts";
import type { PullQueue } from "../pull-queue.ts";
import { jobMessage } from "./protocol-peer.ts";

/** What it holds is added and looked at by number. */
export function queueOf(numbers: number[], settled: string[] = []) {
  const queue: PullQueue = {
    async pull() {
      const n = numbers.shift();
      return n === undefined ? null : { queue: "transcode", leaseId: `m${n}`, attempts: 1, message: jobMessage(n) };
    },
    ack: async ({ leaseId }) => void settled.push(`ack:${leaseId}`),
    retry: async ({ leaseId }, seconds) => void settled.push(`retry:${leaseId}:${seconds}`),
  };
  return queue;
}

/** What is given back is there again at once, for whoever asks next. */
export function retryingQueue() {
  type Entry = { message: TranscodeMessage; attempts: number };
  const waiting: Entry[] = [];
  const pulled = new Map<string, Entry>();
  const settled: string[] = [];
  let pulls = 0;
  const take = (leaseId: string, how: string): Entry | undefined => {
    const entry = pulled.get(leaseId);
    pulled.delete(leaseId);
    settled.push(`${how}:${entry?.message.generation}`);
    return entry;
  };
  const queue: PullQueue = {
    async pull() {
      const entry = waiting.shift();
      if (entry === undefined) return null;
      const leaseId = `lease-${++pulls}`;
      pulled.set(leaseId, { ...entry, attempts: entry.attempts + 1 });
      return { queue: "transcode", leaseId, attempts: entry.attempts + 1, message: entry.message };
    },
    ack: async ({ leaseId }) => void take(leaseId, "ack"),
    retry: async ({ leaseId }) => {
      const entry = take(leaseId, "retry");
      if (entry !== undefined) waiting.push(entry);
    },
  };
  return { queue, settled, offer: (message: TranscodeMessage) => void waiting.push({ message, attempts: 0 }) };
}
