/** The sweep asks only about what nobody has played for its time, and the asset decides by its own clock. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Quality } from "../../schemas/ladder.ts";
import type { RetentionPolicy } from "../../schemas/retention.ts";
import { config, env, quality, seedProxy, storedState } from "../../test/door-worker.ts";
import { publishAssets } from "../stores/catalogue.ts";
import { changeProjectPin, changeRetention } from "../stores/retention-policy.ts";
import { nominationsOf, readGround, sweepLimits, sweepRetention } from "./retention.ts";

const dayMs = 24 * 60 * 60_000;

beforeEach(async () => {
  for (const table of ["assets", "copies", "policy", "project_pins", "sweeps"]) {
    await env.CATALOGUE.prepare(`DELETE FROM ${table}`).run();
  }
});
afterEach(() => {
  vi.useRealTimers();
});

function passDays(days: number): number {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + days * dayMs });
  return Date.now();
}

async function placedProxy() {
  const seeded = await seedProxy({ placed: true });
  const asset = await seeded.door.view();
  if (asset === null) throw new Error("there is no asset");
  await publishAssets(env.CATALOGUE, [asset]);
  return seeded;
}

async function copyState(fileId: string) {
  return (await storedState(fileId)).renditions[0]?.copies.find(({ tier }) => tier === "r2")?.state;
}

test("a proxy stays for its 30 days and is asked to leave after them", async () => {
  const { upload } = await placedProxy();
  await sweepRetention(env, config.policy, passDays(29));
  expect(await copyState(upload.fileId)).toBe("placed");
  vi.useRealTimers();
  await sweepRetention(env, config.policy, passDays(31));
  expect(await copyState(upload.fileId)).toBe("removing");
});

test("one that was played after the catalogue was written is nominated, and the asset keeps it", async () => {
  const { upload, door, jobId } = await placedProxy();
  passDays(20);
  await door.apply({ key: null, by: "test", event: { type: "ProxyAccessed", tier: "r2", quality, jobId } });
  vi.useRealTimers();
  await sweepRetention(env, config.policy, passDays(31));
  expect(await copyState(upload.fileId)).toBe("placed");
});

const nowMs = Date.UTC(2026, 5, 1);
const iso = (atMs: number) => new Date(atMs).toISOString();
const daysAgo = (days: number) => iso(nowMs - days * dayMs);
const audit = {
  at: iso(nowMs),
  by: "test",
  action: "test",
  clientName: null,
  projectName: null,
  fileId: null,
  detail: {},
};

interface Listed {
  count: number;
  idleDays: number;
  projectName?: string;
  pinnedUntil?: string;
}

/** Catalogue rows alone: the search looks at nothing else. */
async function list(name: string, { count, idleDays, projectName = "spring", pinnedUntil }: Listed): Promise<void> {
  await env.CATALOGUE.batch([
    env.CATALOGUE.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
       INSERT INTO assets (file_id, client_name, project_name, file_name, search, size_bytes, state, revision, created_at, updated_at)
       SELECT printf('%s-%06d', ?2, i), 'acme', ?3, 'a.mov', 'a', 1, 'distributed', 1, ?4, ?4 FROM n`,
    ).bind(count, name, projectName, daysAgo(idleDays)),
    env.CATALOGUE.prepare(
      `INSERT INTO copies (file_id, tier, quality, key, status, size_bytes, revision, client_name, project_name, idle_since, pinned_until)
       SELECT file_id, 'r2', '360p', 'k', 'placed', 10, 1, client_name, project_name, updated_at, ?2
       FROM assets WHERE file_id GLOB ?1`,
    ).bind(`${name}-*`, pinnedUntil ?? null),
  ]);
}

async function find(atMs = nowMs, of: Quality = quality) {
  const ground = await readGround(env.CATALOGUE, config.policy, atMs);
  const { nominations, rowsRead } = await nominationsOf(env.CATALOGUE, ground, of, atMs);
  return { names: [...new Set(nominations.map(({ fileId }) => fileId.split("-")[0]))].sort(), nominations, rowsRead };
}

function change(over: Partial<RetentionPolicy>, version = 0): Promise<boolean> {
  const policy = { retentionDays: config.policy.retentionDays, overrides: [], ...over };
  return changeRetention(env.CATALOGUE, { policy, version }, audit);
}

test("everybody who is due is named once in a walk, however many, and a new walk names who is still there", async () => {
  await list("due", { count: sweepLimits.nominations + 40, idleDays: 31 });
  await list("young", { count: 5, idleDays: 29 });
  const first = await find();
  expect(first.nominations).toHaveLength(sweepLimits.nominations);
  const second = await find(nowMs + 60_000);
  expect(second.nominations).toHaveLength(40);
  const all = [...first.nominations, ...second.nominations].map(({ fileId }) => fileId);
  expect(new Set(all).size).toBe(sweepLimits.nominations + 40);
  expect((await find(nowMs + 120_000)).nominations).toEqual([]);
  expect((await find(nowMs + sweepLimits.walkMs + 120_000)).nominations).toHaveLength(sweepLimits.nominations);
});

test("what is kept costs nothing until the next walk, and holds nobody up", async () => {
  await list("kept", { count: sweepLimits.rows, idleDays: 60, projectName: "pinned" });
  await list("pinned", { count: 10, idleDays: 50, pinnedUntil: iso(nowMs + dayMs) });
  await list("due", { count: 3, idleDays: 31 });
  await changeProjectPin(
    env.CATALOGUE,
    { clientName: "acme", projectName: "pinned", pinnedUntil: iso(nowMs + dayMs) },
    audit,
  );
  expect((await find()).names).toEqual(["due"]);
  expect((await find(nowMs + 60_000)).rowsRead).toBeLessThan(10);
  expect((await find(nowMs + 120_000)).rowsRead).toBeLessThan(10);
  expect((await find(nowMs + dayMs)).names).toEqual(["kept"]);
});

test("a changed policy is looked at from the next tick on, and rewrites no row", async () => {
  await list("week", { count: 2, idleDays: 8 });
  await list("month", { count: 2, idleDays: 31 });
  const rows = () =>
    env.CATALOGUE.prepare("SELECT group_concat(file_id || idle_since) AS all_rows FROM copies").first("all_rows");
  const before = await rows();
  expect((await find()).names).toEqual(["month"]);
  expect((await find()).names).toEqual([]);
  expect(await change({ retentionDays: { ...config.policy.retentionDays, "360p": 7 } })).toBe(true);
  expect((await find()).names).toEqual(["month", "week"]);
  expect(await rows()).toBe(before);
});

test("a project may keep longer or shorter than everybody, a client too, and the project's word counts more", async () => {
  await list("others", { count: 1, idleDays: 31 });
  await list("long", { count: 1, idleDays: 31, projectName: "archive" });
  await list("short", { count: 1, idleDays: 3, projectName: "daily" });
  await list("shorter", { count: 1, idleDays: 12, projectName: "weekly" });
  expect(
    await change({
      overrides: [
        { clientName: "acme", retentionDays: { "360p": 10 } },
        { clientName: "acme", projectName: "archive", retentionDays: { "360p": 365 } },
        { clientName: "acme", projectName: "daily", retentionDays: { "360p": 2 } },
        { clientName: "rival", retentionDays: { "360p": 1 } },
      ],
    }),
  ).toBe(true);
  const { names, nominations } = await find();
  expect(names).toEqual(["others", "short", "shorter"]);
  expect(nominations.map(({ fileId, terms }) => [fileId.split("-")[0], terms.days]).sort()).toEqual([
    ["others", 10],
    ["short", 2],
    ["shorter", 10],
  ]);
});

test("a walk goes on to its end, however much is kept and however long it takes", async () => {
  const pages = sweepLimits.pages * sweepLimits.rows;
  await list("kept", { count: pages, idleDays: 60, projectName: "pinned" });
  await list("due", { count: 1, idleDays: 31 });
  const pin = { clientName: "acme", projectName: "pinned", pinnedUntil: iso(nowMs + dayMs) };
  await changeProjectPin(env.CATALOGUE, pin, audit);
  expect((await find()).names).toEqual([]);
  expect((await find(nowMs + 2 * sweepLimits.walkMs)).names).toEqual(["due"]);
});

test("projects with a shorter retention take half of a tick at most, go on where they ended, and keep who is pinned", async () => {
  const { sooner, nominations: all } = sweepLimits;
  await list("short", { count: sooner + 20, idleDays: 3, projectName: "daily" });
  await list("pinned", { count: 5, idleDays: 4, projectName: "daily", pinnedUntil: iso(nowMs + dayMs) });
  await list("brief", { count: 10, idleDays: 5, projectName: "brief" });
  await list("due", { count: all, idleDays: 31 });
  await change({ overrides: [{ clientName: "acme", retentionDays: { "360p": 2 } }] });
  await env.CATALOGUE.prepare("UPDATE copies SET client_name = 'rival' WHERE file_id GLOB 'due-*'").run();
  const count = async (atMs: number) => {
    const { nominations } = await find(atMs);
    return ["brief", "short", "due", "pinned"].map(
      (name) => nominations.filter((n) => n.fileId.startsWith(name)).length,
    );
  };
  expect(await count(nowMs)).toEqual([10, sooner - 10, all - sooner, 0]);
  expect(await count(nowMs + 60_000)).toEqual([0, 30, sooner, 0]);
  expect(await count(nowMs + 120_000)).toEqual([0, 0, 0, 0]);
});

test("a client-wide retention costs one question however many clients have one, and what it reads is counted", async () => {
  await list("short", { count: 2, idleDays: 3, projectName: "daily" });
  const others = Array.from({ length: 90 }, (_, n) => ({ clientName: `client-${n}`, retentionDays: { "360p": 1 } }));
  await change({ overrides: [...others, { clientName: "acme", retentionDays: { "360p": 2 } }] });
  let questions = 0;
  const prepare = (sql: string) => {
    if (sql.includes("json_each") && sql.includes("RECURSIVE")) questions += 1;
    return env.CATALOGUE.prepare(sql);
  };
  const CATALOGUE = { prepare, batch: env.CATALOGUE.batch.bind(env.CATALOGUE) } as unknown as D1Database;
  const asked: string[] = [];
  const getByName = (fileId: string) => ({ apply: async () => void asked.push(fileId) });
  const world = { ...env, CATALOGUE, ASSET: { getByName } as unknown as typeof env.ASSET };
  const { nominated, rowsRead } = await sweepRetention(world, config.policy, nowMs);
  expect({ nominated, questions }).toEqual({ nominated: 2, questions: 1 });
  expect(asked.sort()).toEqual(["short-000001", "short-000002"]);
  expect(rowsRead).toBeGreaterThan(2);
});

test("a pin that is given while a sweep is under way keeps whom it has not asked yet", async () => {
  await list("due", { count: sweepLimits.batch + 10, idleDays: 31 });
  const asked = new Set<string>();
  const getByName = (fileId: string) => ({
    async apply() {
      if (asked.size === 0) {
        asked.add(fileId);
        const pin = { clientName: "acme", projectName: "spring", pinnedUntil: iso(nowMs + dayMs) };
        await changeProjectPin(env.CATALOGUE, pin, audit);
      }
      asked.add(fileId);
    },
  });
  const world = { ...env, ASSET: { getByName } as unknown as typeof env.ASSET };
  expect(await sweepRetention(world, config.policy, nowMs)).toMatchObject({ nominated: sweepLimits.batch });
  expect(asked.size).toBe(sweepLimits.batch);
});

test("an asset that gives no answer keeps nobody else waiting, and is named again in the next walk", async () => {
  await list("due", { count: 12, idleDays: 31 });
  const asked: string[] = [];
  const getByName = (fileId: string) => ({
    async apply() {
      asked.push(fileId);
      if (fileId.endsWith("3")) throw new Error("it moves");
    },
  });
  const world = { ...env, ASSET: { getByName } as unknown as typeof env.ASSET };
  expect(await sweepRetention(world, config.policy, nowMs)).toMatchObject({ nominated: 12, unanswered: 1 });
  expect(asked).toHaveLength(12);
  await sweepRetention(world, config.policy, nowMs + 60_000);
  expect(asked).toHaveLength(12);
  await sweepRetention(world, config.policy, nowMs + sweepLimits.walkMs + 60_000);
  expect(asked).toHaveLength(24);
});
