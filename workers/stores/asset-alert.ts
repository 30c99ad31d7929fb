/**
 * Alerts held open by assets, in D1. Each asset holds the causes that its newest document gives rise to; an alert is
 * raised by its first holder and cleared with its last. Healthy assets cost two statements that touch no row.
 */
import type { Asset } from "../../schemas/asset.ts";
import { answered } from "./catalogue.ts";
import { type Alert, newlyRaised, sameCauseAgain } from "./incident.ts";

export interface AlertHolder extends Pick<Asset, "fileId" | "revision"> {
  /** No cause twice. */
  alerts: readonly Alert[];
}

/** As with the copies: only documents that the catalogue's rows are of. */
const newest = `json_each(?1) AS document CROSS JOIN assets ON assets.file_id = document.value ->> 'fileId'
  AND assets.revision = document.value ->> 'revision'`;
const alertsOfNewest = `${newest} CROSS JOIN json_each(document.value, '$.alerts') AS alert`;

const raise = `
INSERT INTO alerts (cause, code, message, file_id, client_name, times, first_at, last_at, cleared_at)
SELECT alert.value ->> 'cause', alert.value ->> 'code', alert.value ->> 'message', alert.value ->> 'fileId',
  assets.client_name, 1, assets.updated_at, assets.updated_at, NULL
FROM ${alertsOfNewest} WHERE NOT EXISTS (SELECT 1 FROM alert_holders
  WHERE alert_holders.file_id = assets.file_id AND alert_holders.cause = alert.value ->> 'cause') ${sameCauseAgain}`;

const hold = `
INSERT OR IGNORE INTO alert_holders (file_id, cause)
SELECT assets.file_id, alert.value ->> 'cause' FROM ${alertsOfNewest}`;

/** What the assets held, and hold no longer. */
const withPast = `
WITH past AS MATERIALIZED (
  SELECT holder.file_id, holder.cause, assets.updated_at
  FROM ${newest} CROSS JOIN alert_holders AS holder ON holder.file_id = assets.file_id
  WHERE holder.cause NOT IN (SELECT value ->> 'cause' FROM json_each(document.value, '$.alerts')))`;

const clear = `${withPast}
UPDATE alerts SET cleared_at = (SELECT max(updated_at) FROM past WHERE past.cause = alerts.cause)
WHERE cleared_at IS NULL AND cause IN (SELECT cause FROM past)
  AND NOT EXISTS (SELECT 1 FROM alert_holders AS holder WHERE holder.cause = alerts.cause
    AND NOT EXISTS (SELECT 1 FROM past WHERE past.file_id = holder.file_id AND past.cause = holder.cause))`;

const release = `${withPast}
DELETE FROM alert_holders WHERE (file_id, cause) IN (SELECT file_id, cause FROM past)`;

/**
 * One transaction; the same documents again change nothing.
 * @param holders each file once, as the catalogue has just been told it
 * @returns the alerts that were not open before
 */
export async function holdAlerts(database: D1Database, holders: readonly AlertHolder[]): Promise<Alert[]> {
  const raising = holders.some(({ alerts }) => alerts.length > 0) ? [raise, hold] : [];
  const documents = JSON.stringify(holders.map(({ fileId, revision, alerts }) => ({ fileId, revision, alerts })));
  const statements = [...raising, clear, release].map((sql) => database.prepare(sql).bind(documents));
  const [raised] = await answered(database.batch(statements));
  return raising.length === 0 ? [] : newlyRaised(raised?.results ?? []);
}
