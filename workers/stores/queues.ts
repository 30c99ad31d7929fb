/** Sends commands to the queue that carries them, as JSON so that pull consumers can read them too. */
import { type Command, type QueueName, queueOf } from "../../schemas/command.ts";
import { codeOf } from "../../schemas/failure-policy.ts";
import type { Env } from "./config.ts";
import { within } from "./deadline.ts";
import { StoreFailure } from "./store-failure.ts";

const bindings = {
  urgent: "URGENT_QUEUE",
  archive: "ARCHIVE_QUEUE",
  ingest: "INGEST_QUEUE",
  transcode: "TRANSCODE_QUEUE",
  "transcode-rush": "TRANSCODE_RUSH_QUEUE",
  r2: "R2_QUEUE",
  lucidlink: "LUCIDLINK_QUEUE",
  catalogue: "CATALOGUE_QUEUE",
  "app-webhook": "APP_WEBHOOK_QUEUE",
} as const satisfies Record<QueueName, keyof Env>;

export type Queues = Pick<Env, (typeof bindings)[QueueName]>;

const sendTimeoutMs = 15_000;

export function queueFor(queues: Queues, name: QueueName): Queue {
  return queues[bindings[name]];
}

/** @throws when the queue did not take it: whoever sends keeps the command and tries again */
export async function sendCommand(
  queues: Queues,
  command: Command,
  options: { delaySeconds?: number } = {},
): Promise<void> {
  const sending = queueFor(queues, queueOf(command)).send(command, { contentType: "json", ...options });
  await within(
    sending,
    sendTimeoutMs,
    () => new StoreFailure(codeOf("silence", "queue"), "The queue did not answer in time."),
  );
}
