/** What went wrong, in D1: dead letters as they arrived, and alerts, one per cause. */
import { z } from "zod";
import { lostOriginalCause } from "../../schemas/alert.ts";
import { type DeadLetterView, Resolution } from "../../schemas/dead-letter.ts";
import { FailureCode, OriginalLossCode } from "../../schemas/failure.ts";
import { answered } from "./catalogue.ts";

export interface NewDeadLetter {
  /** The queue message's id. */
  id: string;
  /** The queue that gave it up, without `-dead`. */
  queue: string;
  commandType: string | null;
  commandId: string | null;
  fileId: string | null;
  /** JSON of the message as it came. */
  body: string;
  code: FailureCode;
  reason: string;
  deadAt: string;
}

const insertLetter = `
INSERT INTO dead_letters (id, queue, command_type, command_id, file_id, body, code, reason, dead_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING`;

/** The same letter twice is one row. @returns true when it is new */
export async function recordDeadLetter(database: D1Database, letter: NewDeadLetter): Promise<boolean> {
  const { id, queue, commandType, commandId, fileId, body, code, reason, deadAt } = letter;
  const inserting = database
    .prepare(insertLetter)
    .bind(id, queue, commandType, commandId, fileId, body, code, reason, deadAt);
  return (await answered(inserting.run())).meta.changes > 0;
}

const DeadLetterRow = z.object({
  id: z.string(),
  queue: z.string(),
  command_type: z.string().nullable(),
  command_id: z.string().nullable(),
  file_id: z.string().nullable(),
  body: z.string(),
  code: FailureCode,
  reason: z.string(),
  dead_at: z.string(),
  resolution: Resolution.nullable(),
  resolved_at: z.string().nullable(),
  resolved_by: z.string().nullable(),
});
export type DeadLetter = NewDeadLetter & Pick<DeadLetterView, "resolution" | "resolvedAt" | "resolvedBy">;

const letterOf = (row: unknown): DeadLetter => {
  const letter = DeadLetterRow.parse(row);
  const { command_type, command_id, file_id, dead_at, resolved_at, resolved_by, ...rest } = letter;
  const command = { commandType: command_type, commandId: command_id, fileId: file_id };
  return { ...rest, ...command, deadAt: dead_at, resolvedAt: resolved_at, resolvedBy: resolved_by };
};

const letterColumns = `id, queue, command_type, command_id, file_id, body, code, reason, dead_at, resolution, resolved_at,
  resolved_by`;

export interface DeadLetterFilter {
  queue?: string | undefined;
  commandType?: string | undefined;
  fileId?: string | undefined;
  /** `open`, unless told. */
  resolution?: Resolution | "open" | undefined;
  /** Letters about files of these clients, as the catalogue knows them; all letters without it, or with "*". */
  clients?: readonly string[] | undefined;
  /** The last letter of the page before. */
  after?: { deadAt: string; id: string } | null | undefined;
}

function whereOf({ queue, commandType, fileId, resolution = "open", clients, after }: DeadLetterFilter) {
  const conditions = [resolution === "open" ? "resolution IS NULL" : "resolution = ?"];
  const values = resolution === "open" ? [] : [resolution as string];
  const narrow = (condition: string, ...bound: string[]) => {
    conditions.push(condition);
    values.push(...bound);
  };
  if (after) narrow("(dead_at, id) > (?, ?)", after.deadAt, after.id);
  if (queue !== undefined) narrow("queue = ?", queue);
  if (commandType !== undefined) narrow("command_type = ?", commandType);
  if (fileId !== undefined) narrow("file_id = ?", fileId);
  if (clients !== undefined && !clients.includes("*")) {
    const ofClients = `EXISTS (SELECT 1 FROM assets WHERE assets.file_id = dead_letters.file_id
      AND client_name IN (SELECT value FROM json_each(?)))`;
    narrow(ofClients, JSON.stringify(clients));
  }
  return { where: conditions.join(" AND "), values };
}

/** Oldest first. */
export async function listDeadLetters(
  database: D1Database,
  { limit, ...filter }: DeadLetterFilter & { limit: number },
): Promise<DeadLetter[]> {
  const { where, values } = whereOf(filter);
  const statement = database
    .prepare(`SELECT ${letterColumns} FROM dead_letters WHERE ${where} ORDER BY dead_at, id LIMIT ?`)
    .bind(...values, limit);
  return (await answered(statement.all())).results.map(letterOf);
}

export async function countDeadLetters(database: D1Database, filter: DeadLetterFilter): Promise<number> {
  const { where, values } = whereOf(filter);
  const statement = database.prepare(`SELECT count(*) AS n FROM dead_letters WHERE ${where}`).bind(...values);
  return (await answered(statement.first<number>("n"))) ?? 0;
}

/** Resolved or not; null for one that is unknown, or outside these clients. */
export async function findDeadLetter(
  database: D1Database,
  id: string,
  clients: readonly string[],
): Promise<DeadLetter | null> {
  const ofClients = `SELECT ${letterColumns} FROM dead_letters WHERE id = ?1 AND (?2 OR EXISTS (SELECT 1 FROM assets
    WHERE assets.file_id = dead_letters.file_id AND client_name IN (SELECT value FROM json_each(?3))))`;
  const every = clients.includes("*") ? 1 : 0;
  const row = await answered(database.prepare(ofClients).bind(id, every, JSON.stringify(clients)).first());
  return row === null ? null : letterOf(row);
}

/** In SQL, as raising and clearing must agree on it. */
const letterCause = "'dead-letter:' || queue || ':' || coalesce(command_type, 'unreadable')";

const clearSettledCause = `
UPDATE alerts SET cleared_at = ?2 WHERE cleared_at IS NULL
  AND cause = (SELECT ${letterCause} FROM dead_letters WHERE id = ?1)
  AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE resolution IS NULL AND ${letterCause} = alerts.cause)`;

/**
 * The first resolution stands. The last open letter of its cause clears the alert.
 * @returns the letter as it is now, resolved by this or earlier; null when there is none
 */
export async function resolveDeadLetter(
  database: D1Database,
  id: string,
  by: { resolution: Resolution; at: string; sub: string },
): Promise<DeadLetter | null> {
  const [updated] = await answered(
    database.batch([
      database
        .prepare(
          `UPDATE dead_letters SET resolution = coalesce(resolution, ?2), resolved_at = coalesce(resolved_at, ?3),
             resolved_by = coalesce(resolved_by, ?4)
           WHERE id = ?1 RETURNING ${letterColumns}`,
        )
        .bind(id, by.resolution, by.at, by.sub),
      database.prepare(clearSettledCause).bind(id, by.at),
    ]),
  );
  const row = updated?.results[0];
  return row === undefined ? null : letterOf(row);
}

/** A cause that was cleared and comes back counts from the beginning. */
export const sameCauseAgain = `
ON CONFLICT (cause) DO UPDATE SET code = excluded.code, message = excluded.message, file_id = excluded.file_id,
  client_name = excluded.client_name, last_at = excluded.last_at, cleared_at = NULL,
  times = CASE WHEN alerts.cleared_at IS NULL THEN alerts.times + 1 ELSE 1 END,
  first_at = CASE WHEN alerts.cleared_at IS NULL THEN alerts.first_at ELSE excluded.first_at END
RETURNING cause, code, message, file_id, times`;

const raiseForLetter = `
INSERT INTO alerts (cause, code, message, file_id, client_name, times, first_at, last_at, cleared_at)
SELECT ${letterCause}, code, reason, file_id, NULL, 1, dead_at, dead_at, NULL FROM dead_letters
WHERE id = ? AND resolution IS NULL ${sameCauseAgain}`;

export interface Alert {
  /** Says what it is about; one alert per cause is open at a time. */
  cause: string;
  code: FailureCode;
  message: string;
  /** Null where it concerns more than one file. */
  fileId: string | null;
}

const RaisedRow = z
  .object({ cause: z.string(), code: FailureCode, message: z.string(), file_id: z.string().nullable(), times: z.int() })
  .transform(({ file_id, ...row }) => ({ ...row, fileId: file_id }));

/** @returns those that were not open before */
export function newlyRaised(rows: readonly unknown[]): Alert[] {
  return rows.map((row) => RaisedRow.parse(row)).flatMap(({ times, ...alert }) => (times === 1 ? [alert] : []));
}

/** A letter that is resolved by now raises nothing: it may be delivered once more. @returns the alert, when it is new */
export async function raiseLetterAlert(database: D1Database, letterId: string): Promise<Alert | null> {
  const { results } = await answered(database.prepare(raiseForLetter).bind(letterId).all());
  return newlyRaised(results)[0] ?? null;
}

const raise = `
INSERT INTO alerts (cause, code, message, file_id, client_name, times, first_at, last_at, cleared_at)
VALUES (?1, ?2, ?3, ?4, NULL, 1, ?5, ?5, NULL) ${sameCauseAgain}`;

/** One that concerns the whole deployment, raised by a sweep. @returns true when it was not open before */
export async function raiseAlert(database: D1Database, alert: Alert, at: string): Promise<boolean> {
  const { cause, code, message, fileId } = alert;
  const { results } = await answered(database.prepare(raise).bind(cause, code, message, fileId, at).all());
  return newlyRaised(results).length > 0;
}

/** Its cause is no more. */
export async function clearAlert(database: D1Database, cause: string, at: string): Promise<void> {
  const statement = database.prepare("UPDATE alerts SET cleared_at = ?2 WHERE cause = ?1 AND cleared_at IS NULL");
  await answered(statement.bind(cause, at).run());
}

const AlertRow = z.object({
  cause: z.string(),
  code: FailureCode,
  message: z.string(),
  client_name: z.string().nullable(),
  file_id: z.string().nullable(),
  times: z.int(),
  first_at: z.string(),
  last_at: z.string(),
});

/** Open ones, what is critical first, then the newest: all of them, or those about one of these clients. */
export async function listAlerts(database: D1Database, limit: number, clients: readonly string[] = ["*"]) {
  const statement = database
    .prepare(
      `SELECT cause, code, message, client_name, file_id, times, first_at, last_at FROM alerts
       WHERE cleared_at IS NULL AND (?1 OR client_name IN (SELECT value FROM json_each(?2)))
       ORDER BY cause GLOB ?4 DESC, last_at DESC LIMIT ?3`,
    )
    .bind(clients.includes("*") ? 1 : 0, JSON.stringify(clients), limit, lostOriginals);
  return (await answered(statement.all())).results.map((row) => AlertRow.parse(row));
}

const lostOriginals = lostOriginalCause("*");

/** Files whose original is known to be lost, and those that have just failed as if theirs were; some of them, by chance. */
export async function suspectOriginals(database: D1Database, since: string, limit: number): Promise<string[]> {
  const codes = JSON.stringify(OriginalLossCode.options);
  const statement = database
    .prepare(
      `SELECT DISTINCT file_id FROM alerts WHERE cleared_at IS NULL AND file_id IS NOT NULL
         AND (cause GLOB ?1 OR (code IN (SELECT value FROM json_each(?2)) AND last_at >= ?3))
       ORDER BY random() LIMIT ?4`,
    )
    .bind(lostOriginals, codes, since, limit);
  return (await answered(statement.all<{ file_id: string }>())).results.map(({ file_id }) => file_id);
}

/** Drops what was settled before `before`: resolved letters, cleared alerts, delivered calls. */
export async function pruneRecords(database: D1Database, before: string): Promise<void> {
  const statements = [
    "DELETE FROM dead_letters WHERE resolution IS NOT NULL AND resolved_at < ?",
    "DELETE FROM alerts WHERE cleared_at < ?",
    "DELETE FROM app_deliveries WHERE delivered_at < ?",
    "DELETE FROM project_runs WHERE finished_at < ?",
    "DELETE FROM project_pins WHERE pinned_until < ?",
  ];
  await answered(database.batch(statements.map((sql) => database.prepare(sql).bind(before))));
}
