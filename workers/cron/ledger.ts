/** Keeps the ledgers: counts what is stored once a day, and warns before Wasabi's fair-use rule is broken. */
import { egressReport, fairUse } from "../../schemas/ledger.ts";
import { tellAlert } from "../alert-feed.ts";
import type { Env } from "../stores/config.ts";
import { egressOf } from "../stores/egress.ts";
import { clearAlert, raiseAlert } from "../stores/incident.ts";
import { countStorage, isCounted, newestCount } from "../stores/storage-count.ts";
import { beginSweep } from "../stores/stray-upload.ts";

export const egressCause = "wasabi-egress";
const hourMs = 60 * 60_000;

const iso = (atMs: number) => new Date(atMs).toISOString();
const terabytes = (bytes: number) => `${(bytes / 1024 ** 4).toFixed(2)} TB`;

/** Once an hour at most, however often it is called. */
export async function keepLedgers(env: Env, nowMs: number): Promise<void> {
  const now = iso(nowMs);
  // A minute's leniency: the timer's ticks are not punctual.
  if (!(await beginSweep(env.CATALOGUE, "ledgers", now, iso(nowMs - hourMs + 60_000)))) return;
  if (!(await isCounted(env.CATALOGUE, now.slice(0, 10)))) await countStorage(env.CATALOGUE, now);
  await watchEgress(env, now);
}

async function watchEgress(env: Env, now: string): Promise<void> {
  const month = now.slice(0, 7);
  const rows = await newestCount(env.CATALOGUE, ["*"]);
  const storedBytes = rows.filter(({ tier }) => tier === "wasabi").reduce((sum, { bytes }) => sum + bytes, 0);
  const report = egressReport(month, await egressOf(env.CATALOGUE, month), storedBytes);
  const used = report.measuredBytes + report.grantedBytes;
  if (used === 0 || used < storedBytes * fairUse.warnRatio) {
    await clearAlert(env.CATALOGUE, egressCause, now);
    return;
  }
  const share = storedBytes === 0 ? "nothing is stored" : `${Math.round((100 * used) / storedBytes)} %`;
  const message = `In ${month} ${terabytes(used)} left Wasabi, of ${terabytes(storedBytes)} stored (${share}): measured ${terabytes(report.measuredBytes)}, granted ${terabytes(report.grantedBytes)}.`;
  const alert = { cause: egressCause, code: "EGRESS_HIGH", message, fileId: null } as const;
  if (await raiseAlert(env.CATALOGUE, alert, now)) await tellAlert(env, alert, { clientName: null, projectName: null });
}
