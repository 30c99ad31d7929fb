/** The pull-API worker's place in a Miniflare: its bundle, bindings, the queues it consumes and the socket it owns. */
import { fileURLToPath } from "node:url";
import type { V4WorkerOptions } from "miniflare";
import { bundleWorker } from "./bundle.ts";

export type PullQueueConfig = {
  port: number;
  token: string;
  /** Each ends in the queue of its name with -dead. */
  queueNames: string[];
  maxRetries: number;
};

export const pullQueueWorkerName = "pull-queue";

/** The account of the local stack: the API's path has one. */
export const localAccountId = "local";

/** The queues are below `/accounts/{account}/queues/{name}/messages`: a queue's id is its name here. */
export function pullApiUrl(port: number): string {
  return `http://127.0.0.1:${port}/client/v4`;
}

export async function pullQueueWorker(config: PullQueueConfig): Promise<V4WorkerOptions> {
  const queues = config.queueNames.map((name, index) => ({ name, deadLetters: `DEAD_LETTER_${index}` }));
  const { script } = await bundleWorker(fileURLToPath(new URL("pull-queue-worker.ts", import.meta.url)));
  return {
    name: pullQueueWorkerName,
    modules: true,
    script,
    compatibilityDate: "2026-01-01",
    bindings: {
      DEAD_LETTERS: Object.fromEntries(queues.map(({ name, deadLetters }) => [name, deadLetters])),
      PULL_TOKEN: config.token,
      MAX_RETRIES: config.maxRetries,
    },
    durableObjects: { QUEUE: { className: "PullQueue", useSQLite: true } },
    queueProducers: Object.fromEntries(
      queues.map(({ name, deadLetters }) => [deadLetters, { queueName: `${name}-dead` }]),
    ),
    queueConsumers: Object.fromEntries(
      queues.map(({ name }) => [name, { maxBatchSize: 10, maxBatchTimeout: 0, maxRetries: 100 }]),
    ),
    unsafeDirectSockets: [{ host: "127.0.0.1", port: config.port }],
  };
}
