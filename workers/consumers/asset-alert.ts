/**
 * Alerts that an asset's document gives rise to: one per asset or copy that failed, one per client for what keeps its files
 * from moving until a person does something, or for long. Open as long as a document says so.
 */
import { lostOriginalCause } from "../../schemas/alert.ts";
import type { Asset, Problem } from "../../schemas/asset.ts";
import type { FailureCode } from "../../schemas/failure.ts";
import { type FailurePolicy, failurePolicy, longOutageMs } from "../../schemas/failure-policy.ts";
import { tellAlert } from "../alert-feed.ts";
import { holdAlerts } from "../stores/asset-alert.ts";
import { publishAssets } from "../stores/catalogue.ts";
import type { Env } from "../stores/config.ts";
import type { Alert } from "../stores/incident.ts";

/** Every file of a client meets these at the same time, and waiting alone will not fix them. */
const sharedCodes: ReadonlySet<FailureCode> = new Set([
  "LUCIDLINK_FULL",
  "LUCIDLINK_NOT_MOUNTED",
  "LUCIDLINK_UNAVAILABLE",
  "WASABI_FORBIDDEN",
]);

/** Pure; no cause twice. */
export function alertsOf(asset: Asset): Alert[] {
  const { fileId, fileName, clientName, state, problem, renditions } = asset;
  const copies = renditions.flatMap((rendition) =>
    rendition.copies.map((copy) => ({ ...copy, quality: rendition.quality })),
  );
  const alerts = new Map<string, Alert>();
  if (problem?.step === "original") {
    const cause = lostOriginalCause(fileId);
    const message = `The original of ${fileName} (${clientName}) is lost: ${problem.message}`;
    alerts.set(cause, { cause, code: problem.code, message, fileId });
  }
  for (const each of [problem, ...copies.map((copy) => copy.problem)]) {
    if (each === null || !isShared(each, asset)) continue;
    const cause = `${each.code}:${clientName}`;
    if (!alerts.has(cause)) alerts.set(cause, { cause, code: each.code, message: each.message, fileId: null });
  }
  // A rendition that failed in Wasabi has failed its asset.
  for (const { tier, quality, status, problem: why } of copies) {
    if (tier === "wasabi" || status !== "failed" || (why !== null && isShared(why, asset))) continue;
    const cause = `failed-copy:${fileId}:${tier}:${quality}`;
    const message = `${quality} of ${fileName} on ${tier} failed: ${why?.message ?? "no reason was told"}`;
    alerts.set(cause, { cause, code: why?.code ?? "INTERNAL", message, fileId });
  }
  if (state === "failed") {
    const cause = `failed:${fileId}`;
    const why = problem?.message ?? "no reason was told";
    alerts.set(cause, { cause, code: problem?.code ?? "INTERNAL", message: `${fileName} failed: ${why}`, fileId });
  }
  return [...alerts.values()];
}

/** An outage is waited out in silence, for a while. */
function isShared({ step, code, since }: Problem, { updatedAt }: Asset): boolean {
  if (step === "original") return false;
  const policy: FailurePolicy = failurePolicy[code];
  return sharedCodes.has(code) || (policy === "outage" && Date.parse(updatedAt) - Date.parse(since) >= longOutageMs);
}

/**
 * The catalogue's rows, then the alerts: a document that is no longer the newest changes neither.
 * @param assets each file once
 * @returns the files whose row was written
 */
export async function publishWithAlerts(
  env: Pick<Env, "CATALOGUE" | "FEED">,
  assets: readonly Asset[],
): Promise<ReadonlySet<string>> {
  const written = await publishAssets(env.CATALOGUE, assets);
  const holders = assets.map((asset) => ({ ...asset, alerts: alertsOf(asset) }));
  for (const alert of await holdAlerts(env.CATALOGUE, holders)) {
    const holder = holders.find(({ alerts }) => alerts.some(({ cause }) => cause === alert.cause));
    const clientName = holder?.clientName ?? null;
    await tellAlert(env, alert, {
      clientName,
      projectName: alert.fileId === null ? null : (holder?.projectName ?? null),
    });
  }
  return written;
}
