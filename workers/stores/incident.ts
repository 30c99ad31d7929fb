/** What went wrong, in D1: dead letters as they arrived, and alerts, one per cause. */
import { z } from "zod";
import { FailureCode } from "../../schemas/failure.ts";
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

export interface NewAlert {
  cause: string;
  code: FailureCode;
  message: string;
  fileId: string | null;
  at: string;
}

const insertLetter = `
INSERT INTO dead_letters (id, queue, command_type, command_id, file_id, body, code, reason, dead_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING`;

/** A cause that was cleared and comes back counts from the beginning. */
const upsertAlert = `
INSERT INTO alerts (cause, code, message, file_id, times, first_at, last_at, cleared_at)
VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5, NULL)
ON CONFLICT (cause) DO UPDATE SET code = ?2, message = ?3, file_id = ?4, last_at = ?5, cleared_at = NULL,
  times = CASE WHEN alerts.cleared_at IS NULL THEN alerts.times + 1 ELSE 1 END,
  first_at = CASE WHEN alerts.cleared_at IS NULL THEN alerts.first_at ELSE ?5 END
RETURNING times`;

const Times = z.object({ times: z.int().positive() });

/** @returns true when this raised the alert, false when the cause is known and open */
export async function raiseAlert(database: D1Database, alert: NewAlert): Promise<boolean> {
  const { cause, code, message, fileId, at } = alert;
  const row = await answered(database.prepare(upsertAlert).bind(cause, code, message, fileId, at).first());
  return Times.parse(row).times === 1;
}

/** @returns true when the cause was open */
export async function clearAlert(database: D1Database, cause: string, at: string): Promise<boolean> {
  const clearing = database.prepare("UPDATE alerts SET cleared_at = ?2 WHERE cause = ?1 AND cleared_at IS NULL");
  return (await answered(clearing.bind(cause, at).run())).meta.changes > 0;
}

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
});
export type DeadLetter = NewDeadLetter;

const letterOf = (row: unknown): DeadLetter => {
  const { command_type, command_id, file_id, dead_at, ...rest } = DeadLetterRow.parse(row);
  return { ...rest, commandType: command_type, commandId: command_id, fileId: file_id, deadAt: dead_at };
};

const letterColumns = "id, queue, command_type, command_id, file_id, body, code, reason, dead_at";

/** Those that wait for a person, oldest first. `after`: the last of the page before. */
export async function listDeadLetters(
  database: D1Database,
  { after, limit }: { after: { deadAt: string; id: string } | null; limit: number },
): Promise<DeadLetter[]> {
  const statement = database
    .prepare(
      `SELECT ${letterColumns} FROM dead_letters
       WHERE resolution IS NULL AND (dead_at, id) > (?1, ?2) ORDER BY dead_at, id LIMIT ?3`,
    )
    .bind(after?.deadAt ?? "", after?.id ?? "", limit);
  return (await answered(statement.all())).results.map(letterOf);
}

/** @returns the letter when it waited for a person and this resolved it, else null */
export async function resolveDeadLetter(
  database: D1Database,
  id: string,
  by: { resolution: "replayed" | "discarded"; at: string; sub: string },
): Promise<DeadLetter | null> {
  const statement = database
    .prepare(
      `UPDATE dead_letters SET resolution = ?2, resolved_at = ?3, resolved_by = ?4
       WHERE id = ?1 AND resolution IS NULL RETURNING ${letterColumns}`,
    )
    .bind(id, by.resolution, by.at, by.sub);
  const row = await answered(statement.first());
  return row === null ? null : letterOf(row);
}

const AlertRow = z.object({
  cause: z.string(),
  code: FailureCode,
  message: z.string(),
  file_id: z.string().nullable(),
  times: z.int(),
  first_at: z.string(),
  last_at: z.string(),
});

/** Open ones, the newest first. */
export async function listAlerts(database: D1Database, limit: number) {
  const statement = database
    .prepare(
      `SELECT cause, code, message, file_id, times, first_at, last_at FROM alerts
       WHERE cleared_at IS NULL ORDER BY last_at DESC LIMIT ?`,
    )
    .bind(limit);
  return (await answered(statement.all())).results.map((row) => AlertRow.parse(row));
}

/** Drops what was settled before `before`: resolved letters, cleared alerts, delivered calls. */
export async function pruneRecords(database: D1Database, before: string): Promise<void> {
  const statements = [
    "DELETE FROM dead_letters WHERE resolution IS NOT NULL AND resolved_at < ?",
    "DELETE FROM alerts WHERE cleared_at < ?",
    "DELETE FROM app_deliveries WHERE delivered_at < ?",
  ];
  await answered(database.batch(statements.map((sql) => database.prepare(sql).bind(before))));
}
