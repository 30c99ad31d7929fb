/** What the sweep for stray uploads remembers in D1 from one run to the next, and what it asks about those it saw. */
import { z } from "zod";
import { answered } from "./catalogue.ts";
import type { ListedUpload } from "./wasabi-upload-list.ts";

const IdRow = z.object({ id: z.string() });
const idsOf = (rows: readonly unknown[]) => new Set(rows.map((row) => IdRow.parse(row).id));

/**
 * Of two that begin at the same time one is told yes.
 * @param before ISO 8601: the last run must have begun by then
 */
export async function beginSweep(database: D1Database, name: string, now: string, before: string): Promise<boolean> {
  const statement = database
    .prepare(
      `INSERT INTO sweeps (name, started_at) VALUES (?1, ?2)
       ON CONFLICT (name) DO UPDATE SET started_at = ?2 WHERE sweeps.started_at <= ?3`,
    )
    .bind(name, now, before);
  return (await answered(statement.run())).meta.changes > 0;
}

/** It could not see everything. @returns true when it has not said so yet */
export async function noteTrouble(database: D1Database, name: string, trouble: string): Promise<boolean> {
  const statement = database
    .prepare("UPDATE sweeps SET trouble = ?2 WHERE name = ?1 AND trouble IS NOT ?2")
    .bind(name, trouble);
  return (await answered(statement.run())).meta.changes > 0;
}

/**
 * A complete listing: these are all that are old enough; whatever else was known is gone.
 * @returns the ids of those that an earlier complete listing had shown
 */
export async function noteListed(
  database: D1Database,
  name: string,
  uploads: readonly ListedUpload[],
  now: string,
): Promise<Set<string>> {
  const listed = JSON.stringify(uploads);
  const [, , , seen] = await answered(
    database.batch([
      database
        .prepare(
          "DELETE FROM stray_uploads WHERE upload_id NOT IN (SELECT value ->> 'uploadId' FROM json_each(?1) AS listed)",
        )
        .bind(listed),
      database
        .prepare(
          `INSERT OR IGNORE INTO stray_uploads (upload_id, key, initiated_at, first_seen_at)
           SELECT value ->> 'uploadId', value ->> 'key', value ->> 'initiatedAt', ?2 FROM json_each(?1)`,
        )
        .bind(listed, now),
      database.prepare("UPDATE sweeps SET completed_at = ?2, trouble = NULL WHERE name = ?1").bind(name, now),
      database.prepare("SELECT upload_id AS id FROM stray_uploads WHERE first_seen_at < ?").bind(now),
    ]),
  );
  return idsOf(seen?.results ?? []);
}

/** Of these, the uploads that a consumer has noted as its own: the timer looks after them. */
export async function notedAmong(database: D1Database, uploadIds: readonly string[]): Promise<Set<string>> {
  const statement = database
    .prepare("SELECT upload_id AS id FROM open_uploads WHERE upload_id IN (SELECT value FROM json_each(?))")
    .bind(JSON.stringify(uploadIds));
  return idsOf((await answered(statement.all())).results);
}

/** Of these, the files whose original is verified in Wasabi: no uploader is on the way with it any more. */
export async function archivedAmong(database: D1Database, fileIds: readonly string[]): Promise<Set<string>> {
  const statement = database
    .prepare(
      `SELECT file_id AS id FROM copies WHERE tier = 'wasabi' AND quality = 'original' AND status = 'placed'
         AND file_id IN (SELECT value FROM json_each(?))`,
    )
    .bind(JSON.stringify(fileIds));
  return idsOf((await answered(statement.all())).results);
}
