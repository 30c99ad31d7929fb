/**
 * Takes what the queues deliver, one message at a time but for the catalogue's, and hands each command that its asset's
 * object confirms to its work. A message is acked once its outcome is known to the object; what throws is delivered again
 * and ends in the dead-letter queue.
 */
import { type AssetDoor, assetDoor } from "../../durable-objects/asset-door.ts";
import { Command, type CommandOf, type QueueName } from "../../schemas/command.ts";
import { tellAlert } from "../alert-feed.ts";
import { log } from "../log.ts";
import { type Env, readConfig } from "../stores/config.ts";
import { flushEgress, recordSourceRead } from "../stores/egress.ts";
import { notifyApp } from "./app-webhook.ts";
import { archiveOriginal } from "./archive.ts";
import { publishBatch } from "./catalogue.ts";
import { abortEdgeCopy, abortUpload, completeUpload } from "./complete.ts";
import { isDeadLetterQueue, keepDeadLetter } from "./dead-letter.ts";
import { placeEdgeCopy, removeEdgeCopy } from "./edge.ts";
import { checkEditorCopy, placeEditorCopy, removeEditorCopy } from "./editor.ts";
import { ingestOriginal } from "./ingest.ts";
import { restoreArchive } from "./restore.ts";
import type { StepCommand } from "./step-of.ts";
import { answeredByDoor, runStep } from "./step-work.ts";
import { type Facts, tools, type Workbench } from "./workbench.ts";

const catalogueQueue: QueueName = "catalogue";
const firstRetrySeconds = 15;
const longestRetrySeconds = 15 * 60;

export async function handleQueue(batch: MessageBatch, env: Env, _ctx: ExecutionContext): Promise<void> {
  const giveBack = (message: Message, error: unknown) => {
    const { id: messageId, attempts } = message;
    log({ event: "queue.message-failed", queue: batch.queue, messageId, attempts }, error);
    message.retry({ delaySeconds: retryDelaySeconds(attempts) });
  };
  const handleAlone = (message: Message) => handleMessage(message, batch.queue, env);
  if (batch.queue === catalogueQueue) return publishBatch(batch, env, { handleAlone, giveBack });
  for (const message of batch.messages) {
    try {
      await handleAlone(message);
      message.ack();
    } catch (error) {
      giveBack(message, error);
    }
    // No message fails for a ledger.
    await flushEgress(env.CATALOGUE, Date.now()).catch((error: unknown) => log({ event: "egress.unwritten" }, error));
  }
}

/** @param attempts from 1 */
export function retryDelaySeconds(attempts: number): number {
  return Math.min(longestRetrySeconds, firstRetrySeconds * 4 ** (attempts - 1));
}

async function handleMessage(message: Message, queue: string, env: Env): Promise<void> {
  if (isDeadLetterQueue(queue)) {
    const alert = await keepDeadLetter(env.CATALOGUE, message, queue, Date.now());
    if (alert !== null) await tellAlert(env, alert, { clientName: null, projectName: null });
    return;
  }
  // Nothing is touched for a message that does not parse: it goes round to its dead-letter queue.
  const command = Command.parse(message.body);
  if (command.type === "PublishCatalogue")
    throw new Error("the catalogue is published by the batch, from its own queue");
  const door = assetDoor(env.ASSET, command.fileId);
  // Here, before anything else, so that no command can be forgotten: whoever may write to a queue gives no orders.
  if (await answeredByDoor(door.confirm(message.body))) return carryOut(command, { message, door, env });
  const { type, id: commandId, fileId } = command;
  log({ event: "command.unconfirmed", queue, messageId: message.id, type, commandId, fileId });
}

type Confirmed = Exclude<Command, CommandOf<"PublishCatalogue">>;

interface Delivered {
  message: Message;
  door: AssetDoor;
  env: Env;
}

async function carryOut(command: Confirmed, { message, door, env }: Delivered): Promise<void> {
  const config = readConfig(env);
  const bench = tools(env, config);
  switch (command.type) {
    case "CountSourceRead":
      return recordSourceRead(env.CATALOGUE, command);
    case "NotifyApp":
      return notifyApp(command, env, config, Date.now());
    case "AbortUpload":
      return abortUpload(command, bench);
    case "AbortEdgeUpload":
      return abortEdgeCopy(command, bench);
    case "EnqueueTranscode":
      throw new Error("runners pull the transcode queues: no consumer of ours takes from them");
    default:
      return runStep({
        command,
        delivery: { messageId: message.id, attempts: message.attempts },
        door,
        bench,
        work: (workbench) => workOf(command, workbench),
      });
  }
}

function workOf(command: StepCommand, bench: Workbench): Promise<Facts> {
  switch (command.type) {
    case "ArchiveOriginal":
      return archiveOriginal(command, bench);
    case "IngestOriginal":
      return ingestOriginal(command, bench);
    case "CompleteUpload":
      return completeUpload(command, bench);
    case "RestoreArchive":
      return restoreArchive(command, bench);
    case "PlaceEdgeCopy":
      return placeEdgeCopy(command, bench);
    case "RemoveEdgeCopy":
      return removeEdgeCopy(command, bench);
    case "PlaceEditorCopy":
      return placeEditorCopy(command, bench);
    case "CheckEditorCopy":
      return checkEditorCopy(command, bench);
    case "RemoveEditorCopy":
      return removeEditorCopy(command, bench);
  }
}
