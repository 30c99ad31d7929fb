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
  /** What the API lists. */
  queues: ListedQueue[];
};

/** As Cloudflare's API writes it; local queues keep no messages for days, so that they have no settings. */
export type ListedQueue = {
  queue_id: string;
  queue_name: string;
  consumers: { type: "worker" | "http_pull"; script?: string; dead_letter_queue?: string }[];
};

type QueueConfig = {
  producers?: { queue: string }[] | undefined;
  consumers?: { queue: string; dead_letter_queue?: string | undefined }[] | undefined;
};

/** The queues that wrangler.toml names, with those consumers that the stack really has. */
export function listedQueues(
  { producers = [], consumers = [] }: QueueConfig,
  { script, pulled }: { script: string; pulled: readonly string[] },
): ListedQueue[] {
  const pullers = pulled.map((queue) => ({ queue, type: "http_pull" as const, dead_letter_queue: `${queue}-dead` }));
  const pushed = consumers.map((consumer) => ({ ...consumer, type: "worker" as const, script }));
  const all = [...pushed, ...pullers];
  const named = [...producers, ...all, ...all.flatMap(({ dead_letter_queue: queue }) => (queue ? [{ queue }] : []))];
  return [...new Set(named.map(({ queue }) => queue))].map((name) => ({
    queue_id: name,
    queue_name: name,
    consumers: all
      .filter(({ queue }) => queue === name)
      .map((consumer) => ({
        type: consumer.type,
        ...("script" in consumer ? { script: consumer.script } : {}),
        ...(consumer.dead_letter_queue === undefined ? {} : { dead_letter_queue: consumer.dead_letter_queue }),
      })),
  }));
}

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
      QUEUES: config.queues,
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
