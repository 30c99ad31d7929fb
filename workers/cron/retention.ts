/** The sweep: D1 nominates, the Asset object decides, a consumer looks at Wasabi again and only then removes. */
import { assetDoor } from "../../durable-objects/asset-door.ts";
import { QUALITIES, type Quality } from "../../schemas/ladder.ts";
import type { Policy } from "../../schemas/policy.ts";
import { log } from "../log.ts";
import type { Env } from "../stores/config.ts";
import { within } from "../stores/deadline.ts";
import { idleCopies } from "../stores/retention.ts";

const dayMs = 24 * 60 * 60_000;
/** Per quality and tick: what is left is nominated at the next one. */
const nominationsAtOnce = 200;
const objectTimeoutMs = 10_000;
const iso = (atMs: number) => new Date(atMs).toISOString();

/** One asset that does not answer keeps nobody else waiting; it is nominated again at the next tick. */
export async function sweepRetention(env: Env, policy: Pick<Policy, "retentionDays">, nowMs: number): Promise<void> {
  for (const quality of QUALITIES) {
    const due = { idleSince: iso(nowMs - policy.retentionDays[quality] * dayMs), now: iso(nowMs) };
    for (const fileId of await idleCopies(env.CATALOGUE, quality, due, nominationsAtOnce)) {
      try {
        await nominate(env, fileId, quality, nowMs);
      } catch (error) {
        log({ event: "retention.nomination-failed", fileId, quality }, error);
      }
    }
  }
}

async function nominate(env: Env, fileId: string, quality: Quality, nowMs: number): Promise<void> {
  const key = `retention:${quality}:${nowMs}`;
  const answer = assetDoor(env.ASSET, fileId).apply({ key, by: "cron", event: { type: "RetentionElapsed", quality } });
  await within(answer, objectTimeoutMs, () => new Error(`the asset gave no answer within ${objectTimeoutMs} ms`));
}
