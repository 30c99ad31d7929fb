/**
 * Alerts held open by assets, in D1. Each asset holds the causes that its newest document gives rise to; an alert is
 * raised by its first holder and cleared with its last. A healthy asset costs two statements that touch no row.
 */
import type { Asset } from "../../schemas/asset.ts";
import { answered } from "./catalogue.ts";
import { type Alert, newlyRaised, sameCauseAgain } from "./incident.ts";

/** As with the copies: only while the catalogue's row is of this very revision. */
const isNewest = "(SELECT revision FROM assets WHERE file_id = ?1) = ?2";

const raise = `
INSERT INTO alerts (cause, code, message, file_id, client_name, times, first_at, last_at, cleared_at)
SELECT value ->> 'cause', value ->> 'code', value ->> 'message', value ->> 'fileId', ?4, 1, ?5, ?5, NULL
FROM json_each(?3) WHERE ${isNewest}
  AND NOT EXISTS (SELECT 1 FROM alert_holders WHERE file_id = ?1 AND cause = value ->> 'cause') ${sameCauseAgain}`;

const hold = `
INSERT OR IGNORE INTO alert_holders (file_id, cause)
SELECT ?1, value ->> 'cause' FROM json_each(?3) WHERE ${isNewest}`;

const past = "cause NOT IN (SELECT value ->> 'cause' FROM json_each(?3))";

const clear = `
UPDATE alerts SET cleared_at = ?4 WHERE cleared_at IS NULL AND ${isNewest}
  AND cause IN (SELECT cause FROM alert_holders WHERE file_id = ?1 AND ${past})
  AND NOT EXISTS (SELECT 1 FROM alert_holders h WHERE h.cause = alerts.cause AND h.file_id <> ?1)`;

const release = `DELETE FROM alert_holders WHERE file_id = ?1 AND ${isNewest} AND ${past}`;

/**
 * One transaction; the same document again changes nothing.
 * @param asset as the catalogue has just been told it
 * @returns the alerts that were not open before
 */
export async function holdAlerts(
  database: D1Database,
  { fileId, revision, clientName, updatedAt }: Pick<Asset, "fileId" | "revision" | "clientName" | "updatedAt">,
  alerts: readonly Alert[],
): Promise<Alert[]> {
  const of = [fileId, revision, JSON.stringify(alerts)] as const;
  const settling = [database.prepare(clear).bind(...of, updatedAt), database.prepare(release).bind(...of)];
  if (alerts.length === 0) {
    await answered(database.batch(settling));
    return [];
  }
  const raising = [database.prepare(raise).bind(...of, clientName, updatedAt), database.prepare(hold).bind(...of)];
  const [raised] = await answered(database.batch([...raising, ...settling]));
  return newlyRaised(raised?.results ?? []);
}
