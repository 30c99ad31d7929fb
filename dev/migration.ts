/** Applies D1 migrations the way `wrangler d1 migrations apply` does, in the same d1_migrations table. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { unstable_splitSqlQuery as splitSql } from "wrangler";

type Statement = { all(): Promise<{ results: unknown[] }>; bind(...values: unknown[]): Statement };
/** The part of a D1 database that migrations need. */
export type MigratedDatabase = { prepare(sql: string): Statement; batch(statements: Statement[]): Promise<unknown> };

/** File names sort by number first (`0002_x.sql` before `0010_y.sql`), as wrangler orders them. */
export function pendingMigrations(fileNames: readonly string[], applied: ReadonlySet<string>): string[] {
  return fileNames
    .filter((name) => name.endsWith(".sql") && !applied.has(name))
    .sort((a, b) => (Number.parseInt(a, 10) || 0) - (Number.parseInt(b, 10) || 0) || a.localeCompare(b));
}

/** Each file and its row commit as one transaction, so a second start finds either all of it or none. */
export async function applyMigrations(database: MigratedDatabase, directory: string): Promise<string[]> {
  await database
    .prepare(
      `CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE,
       applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)`,
    )
    .all();
  const { results } = await database.prepare("SELECT name FROM d1_migrations").all();
  const applied = new Set(results.map((row) => String((row as { name: unknown }).name)));
  const pending = pendingMigrations(await readdir(directory), applied);
  for (const name of pending) {
    const statements = splitSql(await readFile(join(directory, name), "utf8"));
    await database.batch([
      ...statements.map((sql) => database.prepare(sql)),
      database.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(name),
    ]);
  }
  return pending;
}
