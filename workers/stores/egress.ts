/**
 * What left Wasabi, in D1: one row a day and source, added up in the isolate and written when a message is done. Delivery
 * keeps its own count, and a row per grant (`delivery_counts`, `egress_grants`); what runners read is a row per lease and day
 * (`source_reads`). All are read here where they are.
 */
import { z } from "zod";
import type { CommandOf } from "../../schemas/command.ts";
import { answered } from "./catalogue.ts";

/** `promotion`: read to place a copy on R2 · `placement`: handed to lucid-agent to read. */
export type EgressSource = "promotion" | "placement";

const waiting = new Map<EgressSource, { bytes: number; reads: number }>();

export function noteEgress(source: EgressSource, bytes: number): void {
  const { bytes: before, reads } = waiting.get(source) ?? { bytes: 0, reads: 0 };
  waiting.set(source, { bytes: before + bytes, reads: reads + 1 });
}

const add = `
INSERT INTO egress_days (day, source, bytes, reads) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (day, source) DO UPDATE SET bytes = bytes + ?3, reads = reads + ?4`;

/** @throws what D1 does; what it did not take goes with the next flush of this isolate */
export async function flushEgress(database: D1Database, nowMs: number): Promise<void> {
  if (waiting.size === 0) return;
  const taken = [...waiting];
  waiting.clear();
  const day = new Date(nowMs).toISOString().slice(0, 10);
  try {
    const rows = taken.map(([source, { bytes, reads }]) => database.prepare(add).bind(day, source, bytes, reads));
    await answered(database.batch(rows));
  } catch (error) {
    for (const [source, { bytes, reads }] of taken) {
      const since = waiting.get(source) ?? { bytes: 0, reads: 0 };
      waiting.set(source, { bytes: since.bytes + bytes, reads: since.reads + reads });
    }
    throw error;
  }
}

/** The row's key is what the object tells once, so that a message that comes twice adds nothing. */
export async function recordSourceRead(
  database: D1Database,
  { day, fileId, generation, bytes }: Pick<CommandOf<"CountSourceRead">, "day" | "fileId" | "generation" | "bytes">,
): Promise<void> {
  const statement = database
    .prepare(
      "INSERT INTO source_reads (day, file_id, generation, bytes) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )
    .bind(day, fileId, generation, bytes);
  await answered(statement.run());
}

export interface EgressOfMonth {
  /** Read by us, by source. */
  measured: Record<string, number>;
  /** Opened to others by presigned URLs of originals, whether or not they were read. */
  grantedBytes: number;
}

const Sum = z.object({ source: z.string(), bytes: z.int() });

/** @param month 2026-11 */
export async function egressOf(database: D1Database, month: string): Promise<EgressOfMonth> {
  const tables = await present(database, ["delivery_counts", "egress_grants", "source_reads"]);
  const own = database
    .prepare("SELECT source, sum(bytes) AS bytes FROM egress_days WHERE day GLOB ?1 || '-*' GROUP BY source")
    .bind(month);
  const delivered = tables.has("delivery_counts")
    ? [
        database
          .prepare(
            `SELECT 'delivery' AS source, coalesce(sum(bytes), 0) AS bytes FROM delivery_counts
             WHERE served_from = 'wasabi' AND day GLOB ?1 || '-*'`,
          )
          .bind(month),
      ]
    : [];
  const encoded = tables.has("source_reads")
    ? [
        database
          .prepare(
            `SELECT 'encode' AS source, coalesce(sum(bytes), 0) AS bytes FROM source_reads
             WHERE day >= ?1 AND day < ?1 || '~'`,
          )
          .bind(month),
      ]
    : [];
  const granted = tables.has("egress_grants")
    ? ["granted", "measured"].map((which) =>
        database
          .prepare(
            `SELECT ?2 AS source, coalesce(sum(${which}_bytes), 0) AS bytes FROM egress_grants
             WHERE granted_at >= ?1 AND granted_at < ?1 || '~'`,
          )
          .bind(month, which === "granted" ? "granted" : "ranges"),
      )
    : [];
  const results = await answered(database.batch([own, ...delivered, ...encoded, ...granted]));
  const sums = results.flatMap(({ results: rows }) => rows.map((row) => Sum.parse(row)));
  const measured = sums.filter(({ source }) => source !== "granted").map(({ source, bytes }) => [source, bytes]);
  return {
    measured: Object.fromEntries(measured),
    grantedBytes: sums.find(({ source }) => source === "granted")?.bytes ?? 0,
  };
}

async function present(database: D1Database, names: readonly string[]): Promise<Set<string>> {
  const statement = database
    .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name IN (SELECT value FROM json_each(?))")
    .bind(JSON.stringify(names));
  return new Set(
    (await answered(statement.all())).results.map((row) => z.object({ name: z.string() }).parse(row).name),
  );
}
