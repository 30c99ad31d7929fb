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

/** Some tenths of a second each: one query over all rows would hold up every other until it ran out of its time. */
const rowsAtOnce = 100_000;

const CountRow = z.object({
  client_name: z.string(),
  tier: z.string(),
  content: z.string(),
  objects: z.int(),
  bytes: z.int(),
  /** JSON of the page's last key. */
  last: z.string(),
  rows: z.int(),
});
type Counted = Pick<z.infer<typeof CountRow>, "client_name" | "tier" | "content" | "objects" | "bytes">;

const countPage = `
WITH page AS MATERIALIZED (
  SELECT file_id, tier, quality, client_name, status, size_bytes FROM copies
  WHERE (file_id, tier, quality) > (?1 ->> 0, ?1 ->> 1, ?1 ->> 2) ORDER BY file_id, tier, quality LIMIT ?2)
SELECT client_name, tier, iif(quality = 'original', 'original', 'proxy') AS content,
  count(*) FILTER (WHERE status IN ('placed', 'removing')) AS objects,
  coalesce(sum(size_bytes) FILTER (WHERE status IN ('placed', 'removing')), 0) AS bytes,
  (SELECT json_array(file_id, tier, quality) FROM page ORDER BY file_id DESC, tier DESC, quality DESC LIMIT 1) AS last,
  (SELECT count(*) FROM page) AS rows
FROM page GROUP BY client_name, tier, content`;

const insertCount = `
INSERT INTO storage_days (day, client_name, tier, content, objects, bytes, counted_at)
SELECT ?1, value ->> 'client_name', value ->> 'tier', value ->> 'content', value ->> 'objects', value ->> 'bytes', ?2
FROM json_each(?3)`;

/** The day's earlier count goes: a client that has nothing any more leaves no row. What moves meanwhile may be missed. */
export async function countStorage(database: D1Database, now: string, pageLength = rowsAtOnce): Promise<void> {
  const sums = new Map<string, Counted>();
  for (let after: string | null = '["","",""]'; after !== null; ) {
    const rows: z.infer<typeof CountRow>[] = await readPage(database, after, pageLength);
    for (const row of rows) addTo(sums, row);
    const [page] = rows;
    after = page?.rows === pageLength ? page.last : null;
  }
  const counted = JSON.stringify([...sums.values()].filter(({ objects }) => objects > 0));
  const day = now.slice(0, 10);
  await answered(
    database.batch([
      database.prepare("DELETE FROM storage_days WHERE day = ?").bind(day),
      database.prepare(insertCount).bind(day, now, counted),
    ]),
  );
}

async function readPage(database: D1Database, after: string, length: number): Promise<z.infer<typeof CountRow>[]> {
  const { results } = await answered(database.prepare(countPage).bind(after, length).all());
  return results.map((row) => CountRow.parse(row));
}

function addTo(sums: Map<string, Counted>, { client_name, tier, content, objects, bytes }: Counted): void {
  const name = JSON.stringify([client_name, tier, content]);
  const known = sums.get(name);
  const sum = { objects: objects + (known?.objects ?? 0), bytes: bytes + (known?.bytes ?? 0) };
  sums.set(name, { client_name, tier, content, ...sum });
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
