/** A catalogue that was filled before a migration is whole after it. */
import { readdirSync, readFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const folder = fileURLToPath(new URL("../migrations/", import.meta.url));

test("copies learn whose they are", () => {
  const database = new DatabaseSync(":memory:");
  const files = readdirSync(folder).sort();
  const apply = (file: string) => database.exec(readFileSync(`${folder}${file}`, "utf8"));
  for (const file of files.filter((name) => name < "0004")) apply(file);
  database.exec(`
    INSERT INTO assets (file_id, client_name, project_name, file_name, search, size_bytes, state, revision, created_at, updated_at)
    VALUES ('file-0001', 'acme', 'spring', 'a.mov', 'a.mov', 1, 'distributed', 3, '2026-01-01', '2026-01-01');
    INSERT INTO copies (file_id, tier, quality, key, status, revision) VALUES
      ('file-0001', 'r2', '360p', 'k', 'placed', 3), ('file-0002', 'r2', '360p', 'k', 'placed', 1)`);
  for (const file of files.filter((name) => name >= "0004")) apply(file);
  const copies = database
    .prepare("SELECT file_id, client_name, project_name, revision FROM copies ORDER BY file_id")
    .all();
  expect(copies.map((row) => Object.values(row))).toEqual([
    ["file-0001", "acme", "spring", 3],
    ["file-0002", "", "", 1],
  ]);
  database.close();
});
