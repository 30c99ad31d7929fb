import { env } from "cloudflare:workers";
import fc from "fast-check";
import { beforeEach, expect, test } from "vitest";
import { AssetQuery } from "../../schemas/api.ts";
import type { Asset } from "../../schemas/asset.ts";
import { listAssets, publishAssets } from "./catalogue.ts";
import {
  listAlerts,
  listDeadLetters,
  pruneRecords,
  raiseLetterAlert,
  recordDeadLetter,
  resolveDeadLetter,
} from "./incident.ts";

const database = env.CATALOGUE;

beforeEach(async () => {
  const tables = ["assets", "copies", "alerts", "dead_letters", "app_deliveries", "open_uploads"];
  await database.batch(tables.map((table) => database.prepare(`DELETE FROM ${table}`)));
});

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
const jobId = "0123456789abcdef01234567";

function asset(over: Partial<Asset> = {}): Asset {
  const fileId = over.fileId ?? "file-0001";
  return {
    fileId,
    clientName: "acme",
    projectName: "film",
    fileName: "Szene Ä 1.mov",
    sizeBytes: 100,
    state: "distributed",
    revision: 1,
    generation: 1,
    jobId,
    problem: null,
    original: {
      tier: "wasabi",
      key: `originals/acme/film/${fileId}/a.mov`,
      sizeBytes: 100,
      etag: "e",
      verifiedAt: at(1),
    },
    source: null,
    renditions: [],
    progress: null,
    createdAt: at(0),
    updatedAt: at(1),
    links: { self: "", status: "", history: "" },
    ...over,
  };
}

function withCopies(qualities: Asset["renditions"][number]["quality"][]): Asset["renditions"] {
  return qualities.map((quality) => ({
    quality,
    status: "archived",
    jobId,
    width: 1,
    height: 1,
    frames: 1,
    durationSeconds: 1,
    sizeBytes: 50,
    sha256: null,
    copies: (["wasabi", "r2"] as const).map((tier) => ({
      tier,
      key: `${tier}/${quality}`,
      status: "placed" as const,
      placedAt: at(2),
      verifiedAt: at(2),
      lastAccessAt: null,
      evictAfter: null,
      pinnedUntil: null,
      problem: null,
    })),
  }));
}

const query = (over: Record<string, unknown> = {}) => AssetQuery.parse(over);
const idsOf = async (clients: string[], over: Record<string, unknown> = {}) =>
  (await listAssets(database, clients, query(over))).assets.map((each) => each.fileId);
const copyRows = async () =>
  (await database.prepare("SELECT tier, quality, idle_since FROM copies ORDER BY tier, quality").all()).results;

test("a late or repeated document never regresses a row or its copies", async () => {
  const newer = asset({ revision: 5, state: "distributed", renditions: withCopies(["360p", "720p"]) });
  await publishAssets(database, [newer]);
  await publishAssets(database, [asset({ revision: 3, state: "received", renditions: withCopies(["1080p"]) })]);
  await publishAssets(database, [newer]);
  const { assets } = await listAssets(database, ["*"], query());
  expect(assets).toMatchObject([{ fileId: "file-0001", revision: 5, state: "distributed" }]);
  expect(await copyRows()).toEqual([
    { tier: "r2", quality: "360p", idle_since: at(2) },
    { tier: "r2", quality: "720p", idle_since: at(2) },
    { tier: "wasabi", quality: "360p", idle_since: at(2) },
    { tier: "wasabi", quality: "720p", idle_since: at(2) },
    { tier: "wasabi", quality: "original", idle_since: null },
  ]);
});

test("copies that were written without saying whose they are learn it from the next document", async () => {
  await publishAssets(database, [asset()]);
  await database.prepare("UPDATE copies SET client_name = '', project_name = ''").run();
  await publishAssets(database, [asset({ revision: 2 })]);
  const { results } = await database.prepare("SELECT DISTINCT client_name, project_name FROM copies").all();
  expect(results).toEqual([{ client_name: "acme", project_name: "film" }]);
});

test("copies that a newer document no longer names are dropped", async () => {
  await publishAssets(database, [asset({ revision: 1, renditions: withCopies(["360p", "720p"]) })]);
  await publishAssets(database, [asset({ revision: 2, original: null, renditions: withCopies(["720p"]) })]);
  expect((await copyRows()).map((row) => row.quality)).toEqual(["720p", "720p"]);
});

test("nobody sees another client's assets", async () => {
  await publishAssets(database, [asset({ fileId: "file-acme" })]);
  await publishAssets(database, [asset({ fileId: "file-zeta", clientName: "zeta", updatedAt: at(2) })]);
  expect(await idsOf(["*"])).toEqual(["file-zeta", "file-acme"]);
  expect(await idsOf(["acme"])).toEqual(["file-acme"]);
  expect(await idsOf(["acme", "zeta"])).toEqual(["file-zeta", "file-acme"]);
  expect(await idsOf(["acme", "zeta"], { client: "zeta" })).toEqual(["file-zeta"]);
  expect(await idsOf(["acme"], { client: "zeta" })).toEqual([]);
  expect(await idsOf([])).toEqual([]);
});

test("narrows by project and state, and finds names and ids as they are, whatever their case", async () => {
  await publishAssets(database, [asset({ fileId: "file-0001" })]);
  await publishAssets(database, [
    asset({ fileId: "file-0002", projectName: "spot", state: "failed", fileName: "100%_a.mov" }),
  ]);
  expect(await idsOf(["*"], { project: "spot" })).toEqual(["file-0002"]);
  expect(await idsOf(["*"], { state: "failed" })).toEqual(["file-0002"]);
  expect(await idsOf(["*"], { q: "szene ä" })).toEqual(["file-0001"]);
  expect(await idsOf(["*"], { q: "0%_A" })).toEqual(["file-0002"]);
  expect(await idsOf(["*"], { q: "FILE-0002" })).toEqual(["file-0002"]);
  expect(await idsOf(["*"], { q: "%" })).toEqual(["file-0002"]);
});

test("pages hold every asset once, also those of one instant", async () => {
  const ids = Array.from({ length: 7 }, (_, i) => `file-000${i}`);
  for (const fileId of ids) await publishAssets(database, [asset({ fileId, updatedAt: at(1) })]);
  const seen: string[] = [];
  let cursor: string | null | undefined;
  do {
    const page: Awaited<ReturnType<typeof listAssets>> = await listAssets(
      database,
      ["*"],
      query({ limit: 3, ...(cursor ? { cursor } : {}) }),
    );
    seen.push(...page.assets.map((each) => each.fileId));
    cursor = page.cursor;
  } while (cursor !== null);
  expect(seen).toEqual(ids.toReversed());
});

test("a cursor that nobody handed out is a bad request, and so is one of the other order", async () => {
  for (const cursor of ["x", "%%%", btoa("[1,2]"), btoa('["created",1,2]')]) {
    for (const order of ["changed", "created"]) {
      const reading = listAssets(database, ["*"], query({ cursor, order }));
      await expect(reading).rejects.toMatchObject({ code: "BAD_REQUEST" });
    }
  }
  await publishAssets(database, [asset({ fileId: "file-0001" }), asset({ fileId: "file-0002" })]);
  for (const [order, other] of [
    ["changed", "created"],
    ["created", "changed"],
  ]) {
    const { cursor } = await listAssets(database, ["*"], query({ limit: 1, order }));
    const reading = listAssets(database, ["*"], query({ cursor, order: other }));
    await expect(reading).rejects.toMatchObject({ code: "BAD_REQUEST" });
  }
});

test("a pass by creation shows each asset that was there at its start exactly once, whatever changes meanwhile", async () => {
  const change = fc.record({
    file: fc.nat({ max: 11 }),
    kind: fc.constantFrom("changed", "arrived"),
    beforePage: fc.nat({ max: 8 }),
  });
  let round = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 4 }),
      fc.array(change, { maxLength: 12 }),
      async (creations, limit, changes) => {
        round++;
        await database.prepare("DELETE FROM assets").run();
        const idOf = (name: string | number) => `file-${round}-${name}`.padEnd(12, "x");
        const made = (n: number, revision: number) =>
          asset({ fileId: idOf(n), revision, createdAt: at(creations[n] ?? 0), updatedAt: at(revision) });
        await publishAssets(
          database,
          creations.map((_, n) => made(n, 1)),
        );
        const seen: string[] = [];
        let cursor: string | null = null;
        for (let page = 0; page === 0 || cursor !== null; page++) {
          for (const [n, { file, kind }] of changes.entries()) {
            if (changes[n]?.beforePage !== page) continue;
            const arrived = asset({ fileId: idOf(`new-${n}`), createdAt: at(file % 5) });
            if (kind === "arrived") await publishAssets(database, [arrived]);
            else if (file < creations.length) await publishAssets(database, [made(file, 2 + n)]);
          }
          const asked = query({ order: "created", limit, ...(cursor && { cursor }) });
          const answer: Awaited<ReturnType<typeof listAssets>> = await listAssets(database, ["*"], asked);
          seen.push(...answer.assets.map(({ fileId }) => fileId));
          cursor = answer.cursor;
        }
        const start = creations.map((_, n) => idOf(n));
        expect(seen.filter((fileId) => start.includes(fileId)).sort()).toEqual(start.sort());
        expect(new Set(seen).size).toBe(seen.length);
      },
    ),
    { numRuns: 25 },
  );
});

test("a late document of one file changes nothing beside newer ones of others", async () => {
  await publishAssets(database, [asset({ fileId: "file-0001", revision: 9 }), asset({ fileId: "file-0002" })]);
  const late = asset({ fileId: "file-0001", revision: 8, state: "failed", renditions: withCopies(["360p"]) });
  const newer = asset({ fileId: "file-0002", revision: 2, renditions: withCopies(["720p"]) });
  expect(await publishAssets(database, [late, newer, asset({ fileId: "file-0003" })])).toEqual(
    new Set(["file-0002", "file-0003"]),
  );
  expect(await idsOf(["*"], { state: "failed" })).toEqual([]);
  const { results } = await database.prepare("SELECT DISTINCT file_id, quality FROM copies ORDER BY file_id").all();
  expect(results.filter(({ quality }) => quality !== "original")).toEqual([{ file_id: "file-0002", quality: "720p" }]);
});

test.each([
  ["client_name = 'acme'", "updated_at", "assets_by_client"],
  ["client_name = 'acme'", "created_at", "assets_by_client_creation"],
  ["true", "updated_at", "assets_by_update"],
  ["true", "created_at", "assets_by_creation"],
])("the list where %s by %s is read by its index, in order", async (where, column, index) => {
  const order = `ORDER BY ${column} DESC, file_id DESC LIMIT 5`;
  const plan = await database.prepare(`EXPLAIN QUERY PLAN SELECT file_id FROM assets WHERE ${where} ${order}`).all();
  const told = plan.results.map((row) => String(row.detail)).join("; ");
  expect(told).toMatch(new RegExp(`\\b${index}\\b`));
  expect(told).not.toContain("TEMP B-TREE");
});

const letter = (id: string, deadAt = at(1)) =>
  ({
    id,
    queue: "archive",
    commandType: null,
    commandId: null,
    fileId: null,
    body: '{"x":1}',
    code: "BAD_MESSAGE",
    reason: "not a command",
    deadAt,
  }) as const;

const open = { resolution: null, resolvedAt: null, resolvedBy: null };

test("a dead letter is one row, waits for a person, and is resolved once", async () => {
  expect(await recordDeadLetter(database, letter("m1"))).toBe(true);
  expect(await recordDeadLetter(database, letter("m1"))).toBe(false);
  await recordDeadLetter(database, letter("m2", at(2)));
  const [first, second] = [
    { ...letter("m1"), ...open },
    { ...letter("m2", at(2)), ...open },
  ];
  expect(await listDeadLetters(database, { after: null, limit: 10 })).toEqual([first, second]);
  expect(await listDeadLetters(database, { after: letter("m1"), limit: 10 })).toEqual([second]);
  const by = { resolution: "discarded", at: at(3), sub: "ops" } as const;
  const settled = { ...letter("m1"), resolution: "discarded", resolvedAt: at(3), resolvedBy: "ops" };
  expect(await resolveDeadLetter(database, "m1", by)).toEqual(settled);
  expect(await resolveDeadLetter(database, "m1", { resolution: "replayed", at: at(4), sub: "eve" })).toEqual(settled);
  expect(await resolveDeadLetter(database, "m9", by)).toBeNull();
  expect(await listDeadLetters(database, { resolution: "discarded", limit: 10 })).toEqual([settled]);
  await pruneRecords(database, at(10));
  expect(await listDeadLetters(database, { after: null, limit: 10 })).toHaveLength(1);
  expect(await database.prepare("SELECT count(*) AS n FROM dead_letters").first("n")).toBe(1);
});

test("letters raise one alert per cause; the last of them that is resolved clears it, and a new one raises it again", async () => {
  const by = { resolution: "discarded", at: at(5), sub: "ops" } as const;
  const alert = {
    cause: "dead-letter:archive:unreadable",
    code: "BAD_MESSAGE",
    message: "not a command",
    fileId: null,
  };
  for (const second of [1, 2]) await recordDeadLetter(database, letter(`m${second}`, at(second)));
  await recordDeadLetter(database, { ...letter("m3"), queue: "r2" });
  expect(await raiseLetterAlert(database, "m1")).toEqual(alert);
  expect(await raiseLetterAlert(database, "m2")).toBeNull();
  const { cause } = alert;
  expect(await listAlerts(database, 10)).toMatchObject([{ cause, times: 2, first_at: at(1), last_at: at(2) }]);
  await resolveDeadLetter(database, "m1", by);
  expect(await listAlerts(database, 10)).toHaveLength(1);
  await resolveDeadLetter(database, "m2", by);
  expect(await listAlerts(database, 10)).toEqual([]);
  // Delivered once more after it was resolved.
  expect(await raiseLetterAlert(database, "m2")).toBeNull();
  expect(await listAlerts(database, 10)).toEqual([]);
  await recordDeadLetter(database, letter("m4", at(6)));
  expect(await raiseLetterAlert(database, "m4")).toEqual(alert);
  expect(await listAlerts(database, 10)).toMatchObject([{ cause, times: 1, first_at: at(6) }]);
});
