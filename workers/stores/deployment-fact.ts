/** What D1 knows of the deployment itself: migrations, when the timer last ran, when a runner was last heard of. */
import { z } from "zod";
import type { SelfTestReport } from "../../schemas/self-test.ts";
import { answered } from "./catalogue.ts";

/** Its row among the sweeps keeps one self-test from running beside another, and is no sign of the timer. */
export const selfTestName = "self-test";

const NameRow = z.object({ name: z.string() });

async function column(database: D1Database, query: string): Promise<unknown> {
  return await answered(database.prepare(query).first<unknown>("value"));
}

/** A database without the table has had no migration. @returns null when D1 does not answer */
export async function databaseFacts(database: D1Database): Promise<SelfTestReport["database"]> {
  try {
    const table = await column(database, "SELECT name AS value FROM sqlite_master WHERE name = 'd1_migrations'");
    if (table === null) return { migrations: [], timerAt: null };
    const { results } = await answered(database.prepare("SELECT name FROM d1_migrations ORDER BY id").all());
    const timer = `SELECT max(started_at) AS value FROM sweeps WHERE name <> '${selfTestName}'`;
    const timerAt = await column(database, timer).catch(() => null);
    return {
      migrations: results.map((row) => NameRow.parse(row).name),
      timerAt: z.iso.datetime().nullable().catch(null).parse(timerAt),
    };
  } catch {
    return null;
  }
}

/** The catalogue has no index by state: only what changed last is looked through. */
const encodingNow = `
SELECT count(*) AS value FROM (SELECT state FROM assets ORDER BY updated_at DESC, file_id DESC LIMIT 1000)
WHERE state = 'transcoding'`;

/** What the catalogue cannot tell is nothing. */
export async function encodingFacts(
  database: D1Database,
): Promise<Pick<SelfTestReport["runner"], "encoding" | "lastReadDay">> {
  const [encoding, lastReadDay] = await Promise.all([
    column(database, encodingNow).catch(() => 0),
    column(database, "SELECT max(day) AS value FROM source_reads").catch(() => null),
  ]);
  return { encoding: Number(encoding), lastReadDay: lastReadDay === null ? null : String(lastReadDay) };
}
