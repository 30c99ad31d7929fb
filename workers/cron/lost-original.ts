/**
 * Looks again, every minute, at originals that are said to be lost: those that are, until they are back, and those that a
 * runner has just failed to read. What a runner saw may have been a wrong setting; only S3's own word counts.
 */
import { assetDoor } from "../../durable-objects/asset-door.ts";
import { log } from "../log.ts";
import { lookAtOriginal } from "../original-look.ts";
import type { Env } from "../stores/config.ts";
import { suspectOriginals } from "../stores/incident.ts";
import type { WasabiStore } from "../stores/wasabi.ts";

const looksAtOnce = 50;
/** One that failed for another reason with the same code is not looked at for ever. */
const freshMs = 10 * 60_000;

export async function lookForOriginals(env: Env, wasabi: WasabiStore, nowMs: number): Promise<void> {
  const since = new Date(nowMs - freshMs).toISOString();
  for (const fileId of await suspectOriginals(env.CATALOGUE, since, looksAtOnce)) {
    try {
      const asset = await assetDoor(env.ASSET, fileId).view();
      if (asset !== null) await lookAtOriginal(asset, { env, wasabi, by: "original-look" });
    } catch (error) {
      log({ event: "original.look-failed", fileId }, error);
    }
  }
}
