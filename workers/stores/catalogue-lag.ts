/** How far the catalogue is behind, in D1: by minute, how many rows were written and how long the slowest was not listed. */
import { z } from "zod";
import { answered } from "./catalogue.ts";

export interface WrittenRows {
  rows: number;
  /** Of the change that waited longest, from when it was decided until its row was there. */
  worstMs: number;
}

/** Text order is time order, of whole minutes too. */
const minuteOf = (atMs: number) => new Date(atMs).toISOString().slice(0, "2026-11-30T22:35".length);

export async function noteWritten(database: D1Database, { rows, worstMs }: WrittenRows, nowMs: number): Promise<void> {
  const statement = database
    .prepare(
      `INSERT INTO catalogue_lag (minute, written, worst_ms) VALUES (?1, ?2, ?3)
       ON CONFLICT (minute) DO UPDATE SET written = written + ?2, worst_ms = max(worst_ms, ?3)`,
    )
    .bind(minuteOf(nowMs), rows, Math.max(0, Math.round(worstMs)));
  await answered(statement.run());
}

const Row = z
  .object({ minute: z.string(), written: z.int(), worst_ms: z.int() })
  .transform(({ minute, written, worst_ms }) => ({ minute: `${minute}:00.000Z`, written, worstMs: worst_ms }));

/** The minutes in which rows were written since then, the newest first. */
export async function lagSince(database: D1Database, sinceMs: number): Promise<z.infer<typeof Row>[]> {
  const statement = database
    .prepare("SELECT minute, written, worst_ms FROM catalogue_lag WHERE minute >= ? ORDER BY minute DESC")
    .bind(minuteOf(sinceMs));
  return (await answered(statement.all())).results.map((row) => Row.parse(row));
}

export async function forgetLag(database: D1Database, beforeMs: number): Promise<void> {
  await answered(database.prepare("DELETE FROM catalogue_lag WHERE minute < ?").bind(minuteOf(beforeMs)).run());
}
