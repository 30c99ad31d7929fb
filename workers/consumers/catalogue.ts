/**
 * The catalogue's queue, a batch at a time: the present document of each file, all of them in one transaction, so that a
 * burst of changes is listed within seconds. Each message still has an outcome of its own: one that cannot be read or
 * written fails alone.
 */
import { assetDoor } from "../../durable-objects/asset-door.ts";
import type { Asset } from "../../schemas/asset.ts";
import { Command } from "../../schemas/command.ts";
import { log } from "../log.ts";
import { noteWritten } from "../stores/catalogue-lag.ts";
import { decisionMs, decisionNowMs } from "../stores/clock.ts";
import type { Env } from "../stores/config.ts";
import { publishWithAlerts } from "./asset-alert.ts";
import { answeredByDoor } from "./step-work.ts";

interface FileChange {
  asset: Asset;
  /** All of the batch that are about this file. */
  messages: readonly Message[];
}

interface Settling {
  /** What is no change of a file. */
  handleAlone(message: Message): Promise<void>;
  /** Delivers it again, later. */
  giveBack(message: Message, error: unknown): void;
}

export async function publishBatch(
  { messages }: Pick<MessageBatch, "messages">,
  env: Env,
  settling: Settling,
): Promise<void> {
  const ofFile = new Map<string, Message[]>();
  const alone: Message[] = [];
  for (const message of messages) {
    const command = Command.safeParse(message.body).data;
    if (command?.type !== "PublishCatalogue") alone.push(message);
    else ofFile.set(command.fileId, [...(ofFile.get(command.fileId) ?? []), message]);
  }
  const files = [...ofFile].map(([fileId, about]) => presentOf(fileId, about, env, settling));
  const [changes] = await Promise.all([Promise.all(files), Promise.all(alone.map((each) => settle(each, settling)))]);
  await publish(
    changes.filter((change) => change !== null),
    env,
    settling,
  );
}

async function settle(message: Message, { handleAlone, giveBack }: Settling): Promise<void> {
  try {
    await handleAlone(message);
    message.ack();
  } catch (error) {
    giveBack(message, error);
  }
}

/** Nothing of the messages counts: the document is the object's present one. @returns null when there is none to publish */
async function presentOf(
  fileId: string,
  messages: readonly Message[],
  env: Env,
  { giveBack }: Settling,
): Promise<FileChange | null> {
  try {
    const asset = await answeredByDoor(assetDoor(env.ASSET, fileId).view());
    if (asset !== null) return { asset, messages };
    for (const message of messages) message.ack();
  } catch (error) {
    for (const message of messages) giveBack(message, error);
  }
  return null;
}

/** What fails in company is tried alone: D1 refuses a transaction for any one of its rows. */
async function publish(changes: readonly FileChange[], env: Env, settling: Settling): Promise<void> {
  if (changes.length === 0) return;
  try {
    const written = await publishWithAlerts(
      env,
      changes.map(({ asset }) => asset),
    );
    for (const message of changes.flatMap(({ messages }) => messages)) message.ack();
    await noteLag(
      changes.filter(({ asset }) => written.has(asset.fileId)),
      env,
    );
  } catch (error) {
    if (changes.length > 1) {
      log({ event: "catalogue.batch-failed", files: changes.length }, error);
      await Promise.all(changes.map((change) => publish([change], env, settling)));
      return;
    }
    for (const message of changes.flatMap(({ messages }) => messages)) settling.giveBack(message, error);
  }
}

/** No message fails for a figure. */
async function noteLag(written: readonly FileChange[], env: Env): Promise<void> {
  if (written.length === 0) return;
  const nowMs = decisionNowMs(env);
  const worstMs = nowMs - Math.min(...written.map((change) => sinceMs(change, env)));
  await noteWritten(env.CATALOGUE, { rows: written.length, worstMs }, nowMs).catch((error: unknown) => {
    log({ event: "catalogue.lag-unnoted" }, error);
  });
}

/** When the first of these changes was decided: the document tells of the last, which may have come long after it. */
function sinceMs({ asset, messages }: FileChange, env: Env): number {
  return Math.min(
    Date.parse(asset.updatedAt),
    ...messages.map(({ timestamp }) => decisionMs(env, timestamp.getTime())),
  );
}
