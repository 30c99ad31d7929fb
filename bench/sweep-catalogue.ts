/** A catalogue of any size, written straight into the file that workerd keeps of D1, while no workerd has it open. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setImmediate } from "node:timers/promises";
import { QUALITIES } from "../schemas/ladder.ts";
import { Policy } from "../schemas/policy.ts";
import { saySometimes } from "./figure.ts";

export interface CatalogueSize {
  /** Copies on R2, five an asset. */
  rows: number;
  /** Assets of which one copy each is beyond its time. */
  due: number;
}

const dayMs = 24 * 60 * 60_000;
const assetsAtOnce = 20_000;

export const fileIdOf = (n: number) => `bench-${String(n).padStart(9, "0")}`;

function openCatalogue(directory: string): DatabaseSync {
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".sqlite"),
  );
  for (const file of files) {
    const database = new DatabaseSync(join(directory, file));
    const sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'copies'";
    if (database.prepare(sql).get() !== undefined) return database;
    database.close();
  }
  throw new Error("the catalogue's file was not found");
}

const numbers = "WITH RECURSIVE n (i) AS (SELECT :from UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :to)";
const owner = "'client-' || (i % 50), 'project-' || (i % 1000)";

const insertAssets = `${numbers}
INSERT INTO assets (file_id, client_name, project_name, file_name, search, size_bytes, state, revision, created_at, updated_at)
SELECT printf('bench-%09d', i), ${owner}, 'a.mov', 'a.mov', 1000000000, 'distributed', 1, :at, :at FROM n`;

/** Of the first assets the copy of one quality each is over its time by an hour and more; every other is within its time. */
const insertCopies = `${numbers}
INSERT INTO copies (file_id, tier, quality, key, status, size_bytes, revision, client_name, project_name, idle_since)
SELECT printf('bench-%09d', i), 'r2', :quality, 'k', 'placed', 1000000, 1, ${owner},
  strftime('%Y-%m-%dT%H:%M:%fZ', (:now - iif(i < :due AND i % 5 = :index, :kept + 3600000 + i,
    (i * 7919) % (:kept - 3600000))) / 1000.0, 'unixepoch')
FROM n`;

export async function fillCatalogue(directory: string, { rows, due }: CatalogueSize, nowMs: number): Promise<void> {
  const days = Policy.parse({}).retentionDays;
  const assets = Math.ceil(rows / QUALITIES.length);
  const at = new Date(nowMs - 60 * dayMs).toISOString();
  const database = openCatalogue(directory);
  try {
    const assetRows = database.prepare(insertAssets);
    const copyRows = database.prepare(insertCopies);
    for (let from = 0; from < assets; from += assetsAtOnce) {
      const to = Math.min(from + assetsAtOnce, assets);
      database.exec("BEGIN");
      assetRows.run({ from, to, at });
      for (const [index, quality] of QUALITIES.entries()) {
        copyRows.run({ from, to, quality, index, due, now: nowMs, kept: days[quality] * dayMs });
      }
      database.exec("COMMIT");
      saySometimes(`    ${to * QUALITIES.length} rows`);
      // A signal is heard between two turns.
      await setImmediate();
    }
  } finally {
    database.close();
  }
}
