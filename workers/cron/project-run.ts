/**
 * Orders about a whole project, carried out page by page: each asset is told, and decides. A page that a crash cuts short
 * is told again; an order that was taken is known by its key. A wrap ends where its project is pinned meanwhile.
 */
import { assetDoor } from "../../durable-objects/asset-door.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import type { ProjectRun } from "../../schemas/retention-order.ts";
import { log } from "../log.ts";
import type { Env } from "../stores/config.ts";
import { within } from "../stores/deadline.ts";
import {
  endRun,
  noteProgress,
  type OpenRun,
  openRuns,
  type ProjectAsset,
  projectAssets,
} from "../stores/project-run.ts";
import { projectPinOf } from "../stores/retention-policy.ts";

export const runLimits = {
  /** Runs that go on at the same tick, the oldest first. */
  runs: 5,
  pages: 4,
  assets: 50,
} as const;

const objectTimeoutMs = 10_000;

export async function advanceProjectRuns(env: Env, nowMs: number): Promise<void> {
  for (const open of await openRuns(env.CATALOGUE, runLimits.runs)) {
    try {
      await advance(env, open, nowMs);
    } catch (error) {
      log({ event: "project-run.failed", runId: open.run.id }, error);
    }
  }
}

async function advance(env: Env, { run, afterFileId: begin }: OpenRun, nowMs: number): Promise<void> {
  let afterFileId = begin;
  for (let page = 0; page < runLimits.pages; page += 1) {
    const pinnedUntil = run.kind === "wrap" ? await projectPinOf(env.CATALOGUE, run, nowMs) : null;
    if (pinnedUntil !== null) {
      await endRun(env.CATALOGUE, run, { at: new Date(nowMs).toISOString(), because: `pinned until ${pinnedUntil}` });
      return;
    }
    const assets = await projectAssets(env.CATALOGUE, { ...run, afterFileId }, runLimits.assets);
    const taken = await Promise.all(assets.map((asset) => tell(env, run, asset)));
    const isLast = assets.length < runLimits.assets;
    const lastFileId = assets.at(-1)?.fileId ?? afterFileId;
    const noted = await noteProgress(env.CATALOGUE, run.id, {
      begin: afterFileId,
      afterFileId: lastFileId,
      assets: assets.length,
      ordered: taken.reduce<number>((sum, each) => sum + (each ?? 0), 0),
      unanswered: taken.filter((each) => each === null).length,
      finishedAt: isLast ? new Date(nowMs).toISOString() : null,
    });
    // Another tick that was still at it has done this page: it goes on with the next ones.
    if (isLast || !noted) return;
    afterFileId = lastFileId;
  }
}

/** What an asset is told of a run. Pure. */
export function eventsOf(run: ProjectRun, { edgeQualities }: Pick<ProjectAsset, "edgeQualities">): AssetEvent[] {
  if (run.kind === "wrap") return edgeQualities.map((quality) => ({ type: "EvictionRequested", quality }));
  const pinnedUntilMs = run.until === null ? null : Date.parse(run.until);
  return (run.qualities ?? []).map((quality) => ({ type: "PromotionRequested", quality, pinnedUntilMs }));
}

/** @returns how many of its copies it took the order for, or null when it gave no answer */
async function tell(env: Env, run: ProjectRun, asset: ProjectAsset): Promise<number | null> {
  let ordered = 0;
  try {
    for (const [index, event] of eventsOf(run, asset).entries()) {
      const key = `run:${run.id}:${"quality" in event ? event.quality : index}`;
      const answer = assetDoor(env.ASSET, asset.fileId).apply({ key, by: run.requestedBy, event });
      const late = () => new Error(`the asset gave no answer within ${objectTimeoutMs} ms`);
      const { outcome } = await within(answer, objectTimeoutMs, late);
      // A page that is told again after a crash finds the order taken.
      if (outcome === "applied" || outcome === "duplicate") ordered += 1;
    }
    return ordered;
  } catch (error) {
    log({ event: "project-run.unanswered", runId: run.id, fileId: asset.fileId }, error);
    return null;
  }
}
