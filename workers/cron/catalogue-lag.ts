/** Says when the catalogue falls behind: lists and sweeps go by it. */
import { lagReport, recentLagMs } from "../../schemas/catalogue-lag.ts";
import { tellAlert } from "../alert-feed.ts";
import { forgetLag, lagSince } from "../stores/catalogue-lag.ts";
import type { Env } from "../stores/config.ts";
import { clearAlert, raiseAlert } from "../stores/incident.ts";

export const catalogueLagCause = "catalogue-lag";
/** A burst is listed within seconds; what takes longer than this is no burst. */
const alertAboveMs = 60_000;
const keptMs = 24 * 60 * 60_000;

export async function watchCatalogueLag(env: Env, nowMs: number): Promise<void> {
  await forgetLag(env.CATALOGUE, nowMs - keptMs);
  const { lagMs } = lagReport(await lagSince(env.CATALOGUE, nowMs - recentLagMs), nowMs);
  const at = new Date(nowMs).toISOString();
  if (lagMs === null || lagMs <= alertAboveMs) {
    await clearAlert(env.CATALOGUE, catalogueLagCause, at);
    return;
  }
  const message = `Within the last five minutes a change was listed only after ${Math.round(lagMs / 1_000)} s.`;
  const alert = { cause: catalogueLagCause, code: "CATALOGUE_BEHIND", message, fileId: null } as const;
  if (await raiseAlert(env.CATALOGUE, alert, at)) await tellAlert(env, alert, { clientName: null, projectName: null });
}
