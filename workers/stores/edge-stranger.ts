/** What lies in R2 and is no proxy, in D1: found by a listing that goes by pages, and dropped by the next that does not show it. */
import { z } from "zod";
import { answered } from "./catalogue.ts";

export interface EdgeStranger {
  key: string;
  sizeBytes: number;
  uploadedAt: string;
}

const Position = z.object({ cursor: z.string().nullable() });

/** One pass through the bucket; `cursor` null begins it. */
export interface EdgePass {
  begunAt: string;
  cursor: string | null;
}

const Row = z.object({ started_at: z.string(), position: z.string().nullable() });

/** @returns the pass under way, or a new one where the last began long enough ago; null: not yet */
export async function edgePass(
  database: D1Database,
  name: string,
  { now, restBefore, staleBefore }: { now: string; restBefore: string; staleBefore: string },
): Promise<EdgePass | null> {
  const found = await answered(
    database.prepare("SELECT started_at, position FROM sweeps WHERE name = ?").bind(name).first(),
  );
  if (found === null) return { begunAt: now, cursor: null };
  const { started_at: begunAt, position } = Row.parse(found);
  // A store's cursor may be worth nothing after days.
  if (position !== null && begunAt > staleBefore) return { begunAt, ...Position.parse(JSON.parse(position)) };
  return begunAt <= restBefore ? { begunAt: now, cursor: null } : null;
}

/** A page is done. @returns how many strangers were not known before */
export async function notePage(
  database: D1Database,
  name: string,
  { begunAt }: EdgePass,
  page: { strangers: readonly EdgeStranger[]; next: string | null; now: string },
): Promise<number> {
  const { strangers, next, now } = page;
  const position = next === null ? null : JSON.stringify({ cursor: next });
  const [found] = await answered(
    database.batch([
      database
        .prepare(
          `INSERT INTO edge_strangers (key, size_bytes, uploaded_at, first_seen_at, last_seen_at)
           SELECT value ->> 'key', value ->> 'sizeBytes', value ->> 'uploadedAt', ?2, ?3 FROM json_each(?1) WHERE true
           ON CONFLICT (key) DO UPDATE SET last_seen_at = ?3, size_bytes = excluded.size_bytes
           RETURNING first_seen_at = ?2 AS is_new`,
        )
        .bind(JSON.stringify(strangers), now, begunAt),
      database
        .prepare(
          `INSERT INTO sweeps (name, started_at, position) VALUES (?1, ?2, ?3)
           ON CONFLICT (name) DO UPDATE SET started_at = ?2, position = ?3`,
        )
        .bind(name, begunAt, position),
    ]),
  );
  return (found?.results ?? []).filter((row) => z.object({ is_new: z.int() }).parse(row).is_new === 1).length;
}

/** The bucket has been seen whole: what the pass did not show is gone. */
export async function endPass(database: D1Database, name: string, { begunAt }: EdgePass, now: string): Promise<void> {
  await answered(
    database.batch([
      database.prepare("DELETE FROM edge_strangers WHERE last_seen_at < ?").bind(begunAt),
      database.prepare("UPDATE sweeps SET completed_at = ?2, position = NULL WHERE name = ?1").bind(name, now),
    ]),
  );
}

export async function knownStrangers(database: D1Database, shown: number): Promise<{ count: number; keys: string[] }> {
  const [counted, listed] = await answered(
    database.batch([
      database.prepare("SELECT count(*) AS n FROM edge_strangers"),
      database.prepare("SELECT key FROM edge_strangers ORDER BY first_seen_at, key LIMIT ?").bind(shown),
    ]),
  );
  const { n: count } = z.object({ n: z.int() }).parse(counted?.results[0]);
  return { count, keys: (listed?.results ?? []).map((row) => z.object({ key: z.string() }).parse(row).key) };
}
