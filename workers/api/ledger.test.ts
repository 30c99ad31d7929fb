/** The ledgers: what is counted, what is told, and the warning that comes before the rule is broken. */
import { beforeEach, describe, expect, test, vi } from "vitest";
import { TransferStatus } from "../../schemas/agent-protocol.ts";
import type { Asset } from "../../schemas/asset.ts";
import type { DeletionCost, EgressReport, StorageReport } from "../../schemas/ledger.ts";
import { call, env, seedProxy, token } from "../../test/door-worker.ts";
import { egressCause, keepLedgers } from "../cron/ledger.ts";
import { publishAssets } from "../stores/catalogue.ts";
import { egressOf, flushEgress, noteEgress, recordSourceRead } from "../stores/egress.ts";
import { listAlerts } from "../stores/incident.ts";
import { deletionCostOf } from "./ledger.ts";

const nowMs = Date.UTC(2026, 5, 10);
const hourMs = 60 * 60_000;
const dayMs = 24 * hourMs;
const tb = 1024 ** 4;
const admin = await token("admin");

beforeEach(async () => {
  const tables = ["assets", "copies", "egress_days", "source_reads", "storage_days", "sweeps", "alerts"];
  for (const table of tables) await env.CATALOGUE.prepare(`DELETE FROM ${table}`).run();
});

const get = async (path: string, as = admin) => (await call(`/v1/admin/${path}`, { token: as })).json();

async function store(clientName: string, tier: string, quality: string, sizeBytes: number): Promise<void> {
  await env.CATALOGUE.prepare(
    `INSERT INTO copies (file_id, tier, quality, key, status, size_bytes, revision, client_name, project_name)
     VALUES (?1, ?2, ?3, 'k', 'placed', ?4, 1, ?5, 'p')`,
  )
    .bind(crypto.randomUUID(), tier, quality, sizeBytes, clientName)
    .run();
}

const alerts = async () => (await listAlerts(env.CATALOGUE, 10)).filter(({ cause }) => cause === egressCause);

describe("storage", () => {
  test("is counted once a day, by client and tier, with what it costs", async () => {
    await store("acme", "wasabi", "original", 10 * tb);
    await store("acme", "wasabi", "360p", tb);
    await store("acme", "r2", "360p", 1e12);
    await store("rival", "lucidlink", "720p", 100e9);
    expect(await get("storage")).toEqual({ countedAt: null, tiers: [], clients: [] });
    await keepLedgers(env, nowMs);
    await store("late", "r2", "360p", 5);
    await keepLedgers(env, nowMs + 2 * hourMs);
    const report = (await get("storage")) as StorageReport;
    expect(report.tiers).toEqual([
      { tier: "lucidlink", objects: 1, bytes: 100e9, usdPerMonth: 8 },
      { tier: "r2", objects: 1, bytes: 1e12, usdPerMonth: 15 },
      { tier: "wasabi", objects: 2, bytes: 11 * tb, usdPerMonth: 87.89 },
    ]);
    expect(report.clients.map(({ clientName }) => clientName)).toEqual(["acme", "rival"]);
    const own = (await get("storage", await token("admin", ["rival"]))) as StorageReport;
    expect(own.tiers).toMatchObject([{ tier: "lucidlink" }]);
    const fresh = (await get("storage?fresh=true")) as StorageReport;
    expect(fresh.clients.map(({ clientName }) => clientName)).toContain("late");
  });
});

describe("egress", () => {
  test("adds up in the isolate and is written once", async () => {
    noteEgress("promotion", 100);
    noteEgress("promotion", 50);
    noteEgress("placement", 7);
    await flushEgress(env.CATALOGUE, nowMs);
    await flushEgress(env.CATALOGUE, nowMs);
    noteEgress("promotion", 1);
    await flushEgress(env.CATALOGUE, nowMs + dayMs);
    expect((await egressOf(env.CATALOGUE, "2026-06")).measured).toMatchObject({ promotion: 151, placement: 7 });
    expect((await egressOf(env.CATALOGUE, "2026-05")).measured.promotion).toBeUndefined();
  });

  test("what D1 does not take is written with the next", async () => {
    const broken = {
      batch: () => Promise.reject(new Error("D1 is away")),
      prepare: env.CATALOGUE.prepare.bind(env.CATALOGUE),
    };
    noteEgress("promotion", 10);
    await expect(flushEgress(broken as unknown as D1Database, nowMs)).rejects.toThrow("D1 is away");
    noteEgress("promotion", 5);
    await flushEgress(env.CATALOGUE, nowMs);
    expect((await egressOf(env.CATALOGUE, "2026-06")).measured).toMatchObject({ promotion: 15 });
  });

  test("that runners read counts in the month of its day, once for each lease and day", async () => {
    await store("acme", "wasabi", "original", 10 * tb);
    const read = { fileId: "file-00000001", generation: 1, day: "2026-06-30", bytes: 5 * tb };
    await recordSourceRead(env.CATALOGUE, read);
    await recordSourceRead(env.CATALOGUE, { ...read, generation: 2, bytes: tb });
    await recordSourceRead(env.CATALOGUE, { ...read, day: "2026-07-01", bytes: 2 * tb });
    // Delivered again, and late.
    await recordSourceRead(env.CATALOGUE, read);
    expect(await get("egress?month=2026-06")).toMatchObject({
      measured: { encode: 6 * tb },
      measuredBytes: 6 * tb,
    } satisfies Partial<EgressReport>);
    expect((await egressOf(env.CATALOGUE, "2026-07")).measured).toMatchObject({ encode: 2 * tb });
    expect((await egressOf(env.CATALOGUE, "2026-05")).measured).toMatchObject({ encode: 0 });
  });

  test("is warned of at 80 % of what is stored, once, and no more once there is more stored", async () => {
    await store("acme", "wasabi", "original", 10 * tb);
    noteEgress("promotion", Math.floor(7.9 * tb));
    await flushEgress(env.CATALOGUE, nowMs);
    await keepLedgers(env, nowMs);
    expect(await alerts()).toEqual([]);
    noteEgress("placement", Math.ceil(0.1 * tb));
    await flushEgress(env.CATALOGUE, nowMs);
    await keepLedgers(env, nowMs + hourMs);
    expect(await alerts()).toMatchObject([{ code: "EGRESS_HIGH", message: expect.stringContaining("(80 %)") }]);
    const report = (await get("egress?month=2026-06")) as EgressReport;
    expect(report).toMatchObject({ storedBytes: 10 * tb, ratio: 0.8, warnRatio: 0.8, limitRatio: 1 });
    await store("acme", "wasabi", "original", 10 * tb);
    await keepLedgers(env, nowMs + dayMs);
    expect(await alerts()).toEqual([]);
  });

  test("of next month starts over", async () => {
    await store("acme", "wasabi", "original", tb);
    noteEgress("promotion", 2 * tb);
    await flushEgress(env.CATALOGUE, nowMs);
    await keepLedgers(env, nowMs);
    expect(await alerts()).toHaveLength(1);
    await keepLedgers(env, nowMs + 30 * dayMs);
    expect(await alerts()).toEqual([]);
  });
});

describe("deleting early", () => {
  test("costs what is left of Wasabi's 90 days", async () => {
    const seeded = await seedProxy({ placed: true });
    const asset = await seeded.door.view();
    if (asset === null) throw new Error("there is no asset");
    await publishAssets(env.CATALOGUE, [asset]);
    const told = (await get(`assets/${asset.fileId}/deletion-cost`)) as DeletionCost;
    expect(told.objects.map(({ key }) => key)).toEqual([asset.original?.key, seeded.wasabiKey]);
    expect(told.bytes).toBe(asset.sizeBytes + seeded.bytes.length);
    expect(
      await call(`/v1/admin/assets/${asset.fileId}/deletion-cost`, { token: await token("admin", ["rival"]) }),
    ).toMatchObject({ status: 404 });
  });

  test("is 7.99 $ a TB and month, and nothing after 90 days", () => {
    const verifiedAt = new Date(nowMs).toISOString();
    const asset = {
      original: { tier: "wasabi", key: "k", sizeBytes: tb, etag: "e", verifiedAt },
      renditions: [],
    } as unknown as Asset;
    expect(deletionCostOf(asset, nowMs)).toMatchObject({
      remainingUsd: 23.97,
      minimumEndsAt: new Date(nowMs + 90 * dayMs).toISOString(),
    });
    expect(deletionCostOf(asset, nowMs + 60 * dayMs).remainingUsd).toBe(7.99);
    expect(deletionCostOf(asset, nowMs + 91 * dayMs).remainingUsd).toBe(0);
  });
});

test("capacity says what the agent sees, and that it does not answer", async () => {
  const health = {
    status: "ok",
    mounted: true,
    freeBytes: 5_000,
    totalBytes: 10_000,
    floorBytes: 1,
    transfers: Object.fromEntries(TransferStatus.options.map((status) => [status, 0])),
    pendingCallbacks: 0,
    uptimeSeconds: 1,
  };
  const spy = vi.spyOn(globalThis, "fetch").mockImplementation(async () => Response.json(health));
  expect(await get("capacity")).toEqual({ lucidlink: { objects: 0, bytes: 0, freeBytes: 5_000, mounted: true } });
  spy.mockImplementation(async () => {
    throw new TypeError("nobody answers");
  });
  expect(await get("capacity")).toEqual({ lucidlink: { objects: 0, bytes: 0, freeBytes: null, mounted: null } });
  spy.mockRestore();
});
