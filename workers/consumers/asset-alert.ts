/**
 * Alerts that an asset's document gives rise to: one per asset that failed, one per client for what keeps its copies
 * from being made until a person does something. Open as long as a document says so.
 */
import type { Asset } from "../../schemas/asset.ts";
import type { FailureCode } from "../../schemas/failure.ts";
import { tellAlert } from "../alert-feed.ts";
import { holdAlerts } from "../stores/asset-alert.ts";
import { publishAsset } from "../stores/catalogue.ts";
import type { Env } from "../stores/config.ts";
import type { Alert } from "../stores/incident.ts";

/** Every file of a client meets these at the same time. */
const sharedCodes: ReadonlySet<FailureCode> = new Set([
  "LUCIDLINK_FULL",
  "LUCIDLINK_NOT_MOUNTED",
  "LUCIDLINK_UNAVAILABLE",
  "WASABI_FORBIDDEN",
]);

/** Pure; no cause twice. */
export function alertsOf(asset: Asset): Alert[] {
  const { fileId, fileName, clientName, state, problem, renditions } = asset;
  const problems = [problem, ...renditions.flatMap(({ copies }) => copies.map((copy) => copy.problem))];
  const alerts = new Map<string, Alert>();
  for (const each of problems) {
    if (each === null || !sharedCodes.has(each.code)) continue;
    const cause = `${each.code}:${clientName}`;
    if (!alerts.has(cause)) alerts.set(cause, { cause, code: each.code, message: each.message, fileId: null });
  }
  if (state === "failed") {
    const cause = `failed:${fileId}`;
    const why = problem?.message ?? "no reason was told";
    alerts.set(cause, { cause, code: problem?.code ?? "INTERNAL", message: `${fileName} failed: ${why}`, fileId });
  }
  return [...alerts.values()];
}

/** The catalogue's row, then the alerts: a document that is no longer the newest changes neither. */
export async function publishWithAlerts(env: Pick<Env, "CATALOGUE" | "FEED">, asset: Asset): Promise<void> {
  await publishAsset(env.CATALOGUE, asset);
  const raised = await holdAlerts(env.CATALOGUE, asset, alertsOf(asset));
  const { clientName, projectName } = asset;
  for (const alert of raised) {
    await tellAlert(env, alert, { clientName, projectName: alert.fileId === null ? null : projectName });
  }
}
