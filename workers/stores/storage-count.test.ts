/** What is stored is counted by pages, each a small part of the rows, and comes to the same as one look at all of them. */
import { env } from "cloudflare:workers";
import { beforeEach, expect, test, vi } from "vitest";
import { countStorage, newestCount } from "./storage-count.ts";

const database = env.CATALOGUE;
const now = "2026-11-30T12:00:00.000Z";

beforeEach(() => database.batch(["copies", "storage_days"].map((table) => database.prepare(`DELETE FROM ${table}`))));

/** Twenty thousand rows: files of several clients with five copies each, a tenth of which are not there. */
const fill = `
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 3999),
  kind(tier, quality) AS (VALUES ('wasabi', 'original'), ('wasabi', '360p'), ('wasabi', '720p'), ('r2', '360p'), ('lucidlink', '720p'))
INSERT INTO copies (file_id, tier, quality, key, status, size_bytes, revision, client_name, project_name)
SELECT printf('file-%05d', (i * 7919) % 4000), tier, quality, 'k', iif(i % 10 = 3, 'placing', 'placed'), 1000 + i, 1,
  'client-' || (i % 3), 'p'
FROM n, kind`;

const whole = `
SELECT client_name AS clientName, tier, iif(quality = 'original', 'original', 'proxy') AS content, count(*) AS objects,
  sum(size_bytes) AS bytes
FROM copies WHERE status IN ('placed', 'removing') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`;

test.each([
  ["within a file", 999],
  ["at the end of a file", 1_000],
  ["with the last row", 20_000],
  ["long before its length", 100_000],
])("a page that ends %s misses no row and counts none twice", async (_where, pageLength) => {
  await database.prepare(fill).run();
  const { results: expected } = await database.prepare(whole).all();
  const prepared = vi.spyOn(database, "prepare");
  await countStorage(database, now, pageLength);
  const pages = prepared.mock.calls.filter(([sql]) => sql.includes("LIMIT ?2")).length;
  prepared.mockRestore();
  expect(pages).toBe(Math.floor(20_000 / pageLength) + 1);
  const counted = await newestCount(database, ["*"]);
  expect(counted).toEqual(expected.map((row) => ({ ...row, countedAt: now })));
  expect(counted).toHaveLength(12);
});

test("what is gone since the day's earlier count leaves no row", async () => {
  await database.prepare(fill).run();
  await countStorage(database, now, 500);
  await database.prepare("DELETE FROM copies WHERE client_name <> 'client-1'").run();
  await countStorage(database, now, 500);
  expect(new Set((await newestCount(database, ["*"])).map(({ clientName }) => clientName))).toEqual(
    new Set(["client-1"]),
  );
  await database.prepare("DELETE FROM copies").run();
  await countStorage(database, now, 500);
  expect(await newestCount(database, ["*"])).toEqual([]);
});
