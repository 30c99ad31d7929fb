/**
 * Looks through R2 for what is no proxy: an original, or anything else that nothing of ours can have put there. Once a day,
 * some pages at each tick. It tells the operator, and never deletes.
 */
import { EdgeKey } from "../../schemas/key.ts";
import { tellAlert } from "../alert-feed.ts";
import type { Env } from "../stores/config.ts";
import { type EdgeStranger, edgePass, endPass, knownStrangers, notePage } from "../stores/edge-stranger.ts";
import { clearAlert, raiseAlert } from "../stores/incident.ts";
import { askR2 } from "../stores/r2.ts";

const sweepName = "edge-strangers";
export const strangerCause = "edge-strangers";
const hourMs = 60 * 60_000;
const listTimeoutMs = 30_000;
const keysTold = 5;

export const strangerLimits = { restMs: 24 * hourMs, staleMs: 4 * 24 * hourMs, pages: 5, keys: 1_000 } as const;
export type StrangerLimits = { readonly [Name in keyof typeof strangerLimits]: number };

const iso = (atMs: number) => new Date(atMs).toISOString();

export async function sweepEdgeStrangers(
  env: Env,
  nowMs: number,
  limits: StrangerLimits = strangerLimits,
): Promise<void> {
  const now = iso(nowMs);
  const since = { now, restBefore: iso(nowMs - limits.restMs), staleBefore: iso(nowMs - limits.staleMs) };
  let pass = await edgePass(env.CATALOGUE, sweepName, since);
  let found = 0;
  for (let page = 0; pass !== null && page < limits.pages; page += 1) {
    const { strangers, next } = await listPage(env.PROXIES, pass.cursor, limits.keys);
    found += await notePage(env.CATALOGUE, sweepName, pass, { strangers, next, now });
    if (next === null) {
      await endPass(env.CATALOGUE, sweepName, pass, now);
      await tell(env, now);
      return;
    }
    pass = { ...pass, cursor: next };
  }
  if (found > 0) await tell(env, now);
}

async function listPage(
  bucket: R2Bucket,
  cursor: string | null,
  limit: number,
): Promise<{ strangers: EdgeStranger[]; next: string | null }> {
  const options = cursor === null ? { limit } : { limit, cursor };
  const page = await askR2("a listing", listTimeoutMs, () => bucket.list(options));
  const strangers = page.objects.filter(({ key }) => !EdgeKey.safeParse(key).success);
  return {
    strangers: strangers.map(({ key, size, uploaded }) => ({
      key,
      sizeBytes: size,
      uploadedAt: uploaded.toISOString(),
    })),
    next: page.truncated ? page.cursor : null,
  };
}

async function tell(env: Env, now: string): Promise<void> {
  const { count, keys } = await knownStrangers(env.CATALOGUE, keysTold);
  if (count === 0) {
    await clearAlert(env.CATALOGUE, strangerCause, now);
    return;
  }
  const more = count > keys.length ? `, and ${count - keys.length} more` : "";
  const message = `${count} objects in R2 are no proxies: ${keys.join(", ")}${more}.`.slice(0, 1_000);
  const alert = { cause: strangerCause, code: "R2_STRANGER", message, fileId: null } as const;
  if (await raiseAlert(env.CATALOGUE, alert, now)) await tellAlert(env, alert, { clientName: null, projectName: null });
}
