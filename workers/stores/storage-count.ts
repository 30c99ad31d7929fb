/** What lies where, in D1: counted once a day from the catalogue, since counting reads every row. */
import { z } from "zod";
import type { StorageRow } from "../../schemas/ledger.ts";
import { answered } from "./catalogue.ts";

const Row = z
  .object({
    client_name: z.string(),
    tier: z.enum(["wasabi", "r2", "lucidlink"]),
    content: z.enum(["original", "proxy"]),
    objects: z.int(),
    bytes: z.int(),
    counted_at: z.string(),
  })
  .transform(({ client_name, counted_at, ...row }) => ({ ...row, clientName: client_name, countedAt: counted_at }));

const count = `
INSERT OR REPLACE INTO storage_days (day, client_name, tier, content, objects, bytes, counted_at)
SELECT ?1, client_name, tier, iif(quality = 'original', 'original', 'proxy'), count(*), coalesce(sum(size_bytes), 0), ?2
FROM copies WHERE status IN ('placed', 'removing') GROUP BY client_name, tier, iif(quality = 'original', 'original', 'proxy')`;

/** The day's earlier count goes: a client that has nothing any more leaves no row. */
export async function countStorage(database: D1Database, now: string): Promise<void> {
  const day = now.slice(0, 10);
  await answered(
    database.batch([
      database.prepare("DELETE FROM storage_days WHERE day = ?").bind(day),
      database.prepare(count).bind(day, now),
    ]),
  );
}

/** The newest count, of these clients or of all; empty before the first. */
export async function newestCount(database: D1Database, clients: readonly string[]): Promise<StorageRow[]> {
  const statement = database
    .prepare(
      `SELECT client_name, tier, content, objects, bytes, counted_at FROM storage_days
       WHERE day = (SELECT max(day) FROM storage_days) AND (?1 OR client_name IN (SELECT value FROM json_each(?2)))
       ORDER BY client_name, tier, content`,
    )
    .bind(clients.includes("*") ? 1 : 0, JSON.stringify(clients));
  return (await answered(statement.all())).results.map((row) => Row.parse(row));
}

export async function isCounted(database: D1Database, day: string): Promise<boolean> {
  return (
    (await answered(
      database.prepare("SELECT 1 AS found FROM storage_days WHERE day = ? LIMIT 1").bind(day).first(),
    )) !== null
  );
}
