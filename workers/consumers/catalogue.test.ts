/** The catalogue's queue by the batch: one transaction, an outcome for each message, and how far it is behind. */
import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { beforeEach, expect, test, vi } from "vitest";
import { AssetQuery } from "../../schemas/api.ts";
import type { Asset } from "../../schemas/asset.ts";
import { env, proven, seedProxy } from "../../test/door-worker.ts";
import { listAssets } from "../stores/catalogue.ts";
import { lagSince } from "../stores/catalogue-lag.ts";
import type { Env } from "../stores/config.ts";
import { handleQueue } from "./dispatch.ts";

beforeEach(async () => {
  const tables = ["alerts", "alert_holders", "assets", "copies", "catalogue_lag", "source_reads"];
  await env.CATALOGUE.batch(tables.map((table) => env.CATALOGUE.prepare(`DELETE FROM ${table}`)));
});

const sample = async (): Promise<Asset> => {
  const asset = await (await seedProxy({ placed: true })).door.view();
  if (asset === null) throw new Error("no asset");
  return asset;
};
const fileOf = (asset: Asset, n: number, over: Partial<Asset> = {}): Asset => ({
  ...asset,
  fileId: `batch-${String(n).padStart(4, "0")}`,
  ...over,
});
/** What the objects of files that were made up here answer; all others are real. */
const present = new Map<string, Asset>();
const away = new Set<string>();
const view = async (fileId: string) => {
  if (away.delete(fileId)) throw new Error("the object moves");
  return present.get(fileId);
};
const bench = {
  ...env,
  ASSET: {
    getByName: (fileId: string) => (present.has(fileId) ? { view: () => view(fileId) } : env.ASSET.getByName(fileId)),
  },
} as unknown as Env;

/** The file has become this, and its outbox has said that the catalogue is behind. */
function publish(asset: Asset) {
  present.set(asset.fileId, asset);
  return { type: "PublishCatalogue", id: `${asset.fileId}:${asset.revision}:0`, fileId: asset.fileId };
}

async function deliver(bodies: readonly unknown[], timestamp = new Date()) {
  const messages = bodies.map((body, n) => ({ id: `m${n}`, timestamp, attempts: 1, body }));
  const batch = createMessageBatch("catalogue", messages);
  const ctx = createExecutionContext();
  await handleQueue(batch, bench, ctx);
  const { explicitAcks, retryMessages } = await getQueueResult(batch, ctx);
  const sorted = (ids: string[]) => ids.sort((a, b) => Number(a.slice(1)) - Number(b.slice(1)));
  return { acked: sorted(explicitAcks), again: sorted(retryMessages.map(({ msgId }) => msgId)) };
}

const listed = async () => (await listAssets(env.CATALOGUE, ["*"], AssetQuery.parse({ limit: 200 }))).assets;
const ids = (count: number) => Array.from({ length: count }, (_, n) => `m${n}`);

test("a hundred files are two transactions, and each of their messages is acked", async () => {
  const asset = await sample();
  const batches = vi.spyOn(env.CATALOGUE, "batch");
  const { acked, again } = await deliver(Array.from({ length: 100 }, (_, n) => publish(fileOf(asset, n))));
  expect([acked, again]).toEqual([ids(100), []]);
  expect(batches).toHaveBeenCalledTimes(2);
  batches.mockRestore();
  expect(await listed()).toHaveLength(100);
  const copies = await env.CATALOGUE.prepare("SELECT count(*) AS n FROM copies").first("n");
  expect(copies).toBe(100 * (1 + asset.renditions.flatMap((rendition) => rendition.copies).length));
});

test("several changes of a file are one look at its object and one row", async () => {
  const asset = await sample();
  const views = vi.spyOn(bench.ASSET, "getByName");
  const messages = [3, 7, 5].map((revision) => ({
    ...publish(fileOf(asset, 1, { revision: 7 })),
    id: `x:${revision}:0`,
  }));
  expect(await deliver(messages)).toEqual({ acked: ids(3), again: [] });
  expect(views).toHaveBeenCalledTimes(1);
  views.mockRestore();
  expect(await listed()).toMatchObject([{ revision: 7 }]);
  // An object that was restored to an earlier time takes nothing back.
  expect(await deliver([publish(fileOf(asset, 1, { revision: 6 }))])).toEqual({ acked: ["m0"], again: [] });
  expect(await listed()).toMatchObject([{ revision: 7 }]);
});

test("what cannot be read, and what its object does not answer, fails alone; of no asset there is nothing to write", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const asset = await sample();
  const { fileId } = asset;
  const read = { type: "CountSourceRead", id: `${fileId}:9:0`, fileId, generation: 1, day: "2026-11-30", bytes: 5 };
  const silent = publish(fileOf(asset, 2));
  away.add(silent.fileId);
  const bodies = [
    publish(fileOf(asset, 0)),
    "hello",
    silent,
    await proven(read),
    publish(fileOf(asset, 4)),
    { type: "PublishCatalogue", id: "x:1:0", fileId: "nobody-knows-it" },
    { ...read, bytes: 7_000 },
  ];
  expect(await deliver(bodies)).toEqual({ acked: ["m0", "m3", "m4", "m5", "m6"], again: ["m1", "m2"] });
  expect((await listed()).map((row) => row.fileId).sort()).toEqual(["batch-0000", "batch-0004"]);
  expect(await env.CATALOGUE.prepare("SELECT sum(bytes) AS n FROM source_reads").first("n")).toBe(5);
});

test("what D1 does not take fails alone: a trigger stands for the row that it refuses", async () => {
  for (const level of ["error", "warn"] as const) vi.spyOn(console, level).mockImplementation(() => undefined);
  const asset = await sample();
  await env.CATALOGUE.prepare(
    `CREATE TRIGGER refuse BEFORE INSERT ON assets WHEN new.file_id = 'batch-0001'
     BEGIN SELECT RAISE(ABORT, 'refused by the test'); END`,
  ).run();
  try {
    const bodies = [0, 1, 2].map((n) => publish(fileOf(asset, n)));
    expect(await deliver(bodies)).toEqual({ acked: ["m0", "m2"], again: ["m1"] });
    expect((await listed()).map(({ fileId }) => fileId).sort()).toEqual(["batch-0000", "batch-0002"]);
  } finally {
    await env.CATALOGUE.prepare("DROP TRIGGER refuse").run();
  }
});

test("alerts of a batch are raised once, held by each file, and cleared with the last, all within one batch too", async () => {
  const asset = await sample();
  const since = new Date(0).toISOString();
  const full = { step: "lucidlink:360p", code: "LUCIDLINK_FULL", message: "full", since, retryable: true } as const;
  const problem = { ...full, nextAttemptAt: null };
  const open = async () =>
    (await env.CATALOGUE.prepare("SELECT cause, times FROM alerts WHERE cleared_at IS NULL").all()).results;
  await deliver([1, 2, 3].map((n) => publish(fileOf(asset, n, { problem, revision: 50 }))));
  expect(await open()).toEqual([{ cause: "LUCIDLINK_FULL:acme", times: 3 }]);
  await deliver([1, 2].map((n) => publish(fileOf(asset, n, { problem: null, revision: 51 }))));
  expect(await open()).toHaveLength(1);
  await deliver([publish(fileOf(asset, 1, { problem, revision: 52 })), publish(fileOf(asset, 3, { revision: 51 }))]);
  expect(await open()).toHaveLength(1);
  await deliver([1, 2].map((n) => publish(fileOf(asset, n, { problem: null, revision: 60 }))));
  expect(await open()).toEqual([]);
  expect(await env.CATALOGUE.prepare("SELECT count(*) AS n FROM alert_holders").first("n")).toBe(0);
});

test("how far behind it is counts from the oldest change that was listed, and not from what changed nothing", async () => {
  const asset = await sample();
  const ago = (seconds: number) => new Date(Date.now() - seconds * 1_000);
  const changed = (n: number, seconds: number, revision = 5) =>
    publish(fileOf(asset, n, { revision, updatedAt: ago(seconds).toISOString() }));
  await deliver([changed(1, 40), changed(2, 90)]);
  const [first] = await lagSince(env.CATALOGUE, Date.now() - 60_000);
  expect(first?.written).toBe(2);
  expect(first?.worstMs).toBeGreaterThanOrEqual(90_000);
  expect(first?.worstMs).toBeLessThan(120_000);
  await deliver([changed(2, 4_000, 4)]);
  await deliver([changed(3, 0, 5)], ago(200));
  const minutes = await lagSince(env.CATALOGUE, Date.now() - 60_000);
  expect(minutes.reduce((sum, { written }) => sum + written, 0)).toBe(3);
  const worstMs = Math.max(...minutes.map((minute) => minute.worstMs));
  expect(worstMs).toBeGreaterThanOrEqual(200_000);
  expect(worstMs).toBeLessThan(300_000);
});
