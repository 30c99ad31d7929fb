/** A queue in memory: what it holds is added and looked at by number. */
import type { PullQueue } from "../pull-queue.ts";
import { jobMessage } from "./protocol-peer.ts";

export function queueOf(setting: string, numbers: number[], settled: string[] = []) {
  const queue: PullQueue = {
    setting,
    async pull() {
      const n = numbers.shift();
      return n === undefined
        ? null
        : { leaseId: `${setting}-${n}`, attempts: 1, message: jobMessage(n), problem: null };
    },
    ack: async (leaseId) => void settled.push(`ack:${leaseId}`),
    retry: async (leaseId, seconds) => void settled.push(`retry:${leaseId}:${seconds}`),
  };
  return queue;
}
