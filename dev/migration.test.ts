import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { afterAll, beforeAll, expect, test } from "vitest";
import { applyMigrations, pendingMigrations } from "./migration.ts";

let miniflare: Miniflare;
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "migration-test-"));
  miniflare = new Miniflare(
    convertV4MiniflareOptions({
      cf: false,
      modules: true,
      compatibilityDate: "2026-01-01",
      script: "export default { fetch: () => new Response() };",
      d1Databases: { DB: "catalogue" },
    }),
  );
  await miniflare.ready;
});

afterAll(async () => {
  await miniflare.dispose();
  await rm(directory, { recursive: true, force: true });
});

test("pending files come in the order of their numbers", () => {
  const files = ["0010_c.sql", "0002_b.sql", "0001_a.sql", "notes.md"];
  expect(pendingMigrations(files, new Set(["0001_a.sql"]))).toEqual(["0002_b.sql", "0010_c.sql"]);
});

test("each file is applied once, whole, and a broken one leaves nothing", async () => {
  const database = await miniflare.getD1Database("DB");
  const trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET n = n + 1; UPDATE a SET n = n * 2; END;";
  await writeFile(join(directory, "0001_first.sql"), `CREATE TABLE a (n INTEGER);\n${trigger}\n`);
  expect(await applyMigrations(database, directory)).toEqual(["0001_first.sql"]);
  expect(await applyMigrations(database, directory)).toEqual([]);
  await database.prepare("INSERT INTO a VALUES (1)").run();
  expect(await database.prepare("SELECT n FROM a").first("n")).toBe(4);

  await writeFile(join(directory, "0002_broken.sql"), "CREATE TABLE b (n INTEGER); INSERT INTO nowhere VALUES (1);");
  await expect(applyMigrations(database, directory)).rejects.toThrow(/nowhere/);
  expect(await database.prepare("SELECT COUNT(*) AS n FROM sqlite_master WHERE name = 'b'").first("n")).toBe(0);
  expect(await database.prepare("SELECT COUNT(*) AS n FROM d1_migrations").first("n")).toBe(1);
});
