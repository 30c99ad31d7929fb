/** A large project goes by pages, from tick to tick; an asset that gives no answer is counted, and holds nobody up. */
import { beforeEach, expect, test } from "vitest";
import type { AssetEvent } from "../../schemas/event.ts";
import type { ProjectRun } from "../../schemas/retention-order.ts";
import { env } from "../../test/door-worker.ts";
import { listAudit } from "../stores/audit.ts";
import { noteProgress, openRuns, orderRun, runsOf } from "../stores/project-run.ts";
import { changeProjectPin } from "../stores/retention-policy.ts";
import { advanceProjectRuns, eventsOf, runLimits } from "./project-run.ts";

const nowMs = Date.UTC(2026, 5, 1);
const project = { clientName: "acme", projectName: "large" };
const perTick = runLimits.pages * runLimits.assets;
const assets = perTick + 30;

const run: ProjectRun = {
  id: "run-1",
  kind: "wrap",
  ...project,
  qualities: null,
  until: null,
  assets: 0,
  ordered: 0,
  unanswered: 0,
  requestedAt: new Date(nowMs).toISOString(),
  requestedBy: "admin:test",
  finishedAt: null,
};

beforeEach(async () => {
  for (const table of ["assets", "copies", "project_runs", "project_pins", "audit"])
    await env.CATALOGUE.prepare(`DELETE FROM ${table}`).run();
  await env.CATALOGUE.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${assets})
     INSERT INTO assets (file_id, client_name, project_name, file_name, search, size_bytes, state, revision, created_at, updated_at)
     SELECT printf('file-%05d', i), 'acme', 'large', 'a.mov', 'a', 1, 'distributed', 1, '2026-01-01', '2026-01-01' FROM n`,
  ).run();
  await env.CATALOGUE.prepare(
    `INSERT INTO copies (file_id, tier, quality, key, status, size_bytes, revision, client_name, project_name)
     SELECT file_id, 'r2', '360p', 'k', 'placed', 10, 1, 'acme', 'large' FROM assets`,
  ).run();
  const audit = { at: run.requestedAt, by: "test", action: "project.wrapped", ...project, fileId: null, detail: {} };
  await orderRun(env.CATALOGUE, run, audit);
});

function worldWithout(silent: string, outcome = "applied") {
  const told: string[] = [];
  const getByName = (fileId: string) => ({
    async apply({ event }: { event: AssetEvent }) {
      if (fileId === silent) throw new Error("it moves");
      told.push(`${fileId} ${event.type}`);
      return { outcome, asset: null };
    },
  });
  return { told, world: { ...env, ASSET: { getByName } as unknown as typeof env.ASSET } };
}

test("each asset hears of it once, over as many ticks as it takes", async () => {
  const { told, world } = worldWithout("file-00007");
  await advanceProjectRuns(world, nowMs);
  expect(told).toHaveLength(perTick - 1);
  expect(await runsOf(env.CATALOGUE, project, 1)).toMatchObject([{ assets: perTick, finishedAt: null }]);
  await advanceProjectRuns(world, nowMs + 60_000);
  expect(await runsOf(env.CATALOGUE, project, 1)).toMatchObject([
    { assets, ordered: assets - 1, unanswered: 1, finishedAt: new Date(nowMs + 60_000).toISOString() },
  ]);
  expect(new Set(told).size).toBe(assets - 1);
  expect(await openRuns(env.CATALOGUE, 10)).toEqual([]);
  await advanceProjectRuns(world, nowMs + 120_000);
  expect(told).toHaveLength(assets - 1);
});

test("a wrap ends where its project is pinned meanwhile, and the record says why", async () => {
  const { told, world } = worldWithout("");
  await advanceProjectRuns(world, nowMs);
  const pinnedUntil = new Date(nowMs + 3_600_000).toISOString();
  const line = { at: run.requestedAt, by: "test", action: "project.pinned", ...project, fileId: null, detail: {} };
  await changeProjectPin(env.CATALOGUE, { ...project, pinnedUntil }, line);
  await advanceProjectRuns(world, nowMs + 60_000);
  expect(told).toHaveLength(perTick);
  expect(await openRuns(env.CATALOGUE, 10)).toEqual([]);
  expect(await listAudit(env.CATALOGUE, ["*"], { beforeId: null, limit: 1 })).toMatchObject([
    { action: "project.run-ended", by: "cron", detail: { runId: run.id, because: `pinned until ${pinnedUntil}` } },
  ]);
});

test("a page that is told again counts its orders as taken; one that another tick has done is not counted twice", async () => {
  const page = { begin: "", afterFileId: "file-00050", assets: 50, ordered: 50, unanswered: 0, finishedAt: null };
  expect(await noteProgress(env.CATALOGUE, run.id, page)).toBe(true);
  expect(await noteProgress(env.CATALOGUE, run.id, page)).toBe(false);
  const { world } = worldWithout("", "duplicate");
  await advanceProjectRuns(world, nowMs);
  expect(await runsOf(env.CATALOGUE, project, 1)).toMatchObject([{ assets, ordered: assets, unanswered: 0 }]);
});

test("a wrap asks for what lies on R2, a pre-warm for what was chosen", () => {
  const edgeQualities = ["360p", "720p"] as const;
  expect(eventsOf(run, { edgeQualities: [...edgeQualities] })).toEqual([
    { type: "EvictionRequested", quality: "360p" },
    { type: "EvictionRequested", quality: "720p" },
  ]);
  const until = new Date(nowMs).toISOString();
  expect(eventsOf({ ...run, kind: "prewarm", qualities: ["1080p"], until }, { edgeQualities: [] })).toEqual([
    { type: "PromotionRequested", quality: "1080p", pinnedUntilMs: nowMs },
  ]);
});
