/** What delivery has served, in D1: one row per day and tier. */
import { z } from "zod";
import { answered } from "./catalogue.ts";

const add = `
INSERT INTO delivery_counts (day, served_from, requests, bytes) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (day, served_from) DO UPDATE SET requests = requests + ?3, bytes = bytes + ?4`;

const clearUnserved = `
UPDATE alerts SET cleared_at = ?2 WHERE cause = ?1 AND cleared_at IS NULL AND last_at < ?3`;

export interface Served {
  /** ISO 8601 UTC. */
  at: string;
  counts: readonly { servedFrom: string; requests: number; bytes: number }[];
  /** An alert that this serving disproves, unless it was raised again since. */
  disproves: { cause: string; lastRaisedBefore: string } | null;
}

export async function recordServed(database: D1Database, { at, counts, disproves }: Served): Promise<void> {
  const adding = counts.map(({ servedFrom, requests, bytes }) =>
    database.prepare(add).bind(at.slice(0, 10), servedFrom, requests, bytes),
  );
  const clearing =
    disproves === null ? [] : [database.prepare(clearUnserved).bind(disproves.cause, at, disproves.lastRaisedBefore)];
  await answered(database.batch([...adding, ...clearing]));
}

const CountRow = z.object({ day: z.string(), served_from: z.string(), requests: z.int(), bytes: z.int() });

/** @param fromDay as 2026-11-25, included */
export async function deliveryCounts(database: D1Database, fromDay: string) {
  const statement = database
    .prepare("SELECT day, served_from, requests, bytes FROM delivery_counts WHERE day >= ? ORDER BY day, served_from")
    .bind(fromDay);
  return (await answered(statement.all())).results.map((row) => {
    const { served_from: servedFrom, ...rest } = CountRow.parse(row);
    return { servedFrom, ...rest };
  });
}
