/**
 * The worker's own sweep and objects behind a door of the bench. Queues take what is asked for and nobody carries it out:
 * what is measured is finding who is due, and deciding.
 */
import { AssetObject } from "../durable-objects/asset-object.ts";
import { FeedObject } from "../durable-objects/feed-object.ts";
import { Policy } from "../schemas/policy.ts";
import { nominationsOf, readGround, sweepRetention } from "../workers/cron/retention.ts";
import type { Env } from "../workers/stores/config.ts";
import { SeedOrder, SweepOrder, type SweepResult } from "./sweep-order.ts";

/** Put into its state at once, instead of by the dozen facts of a life. */
export class SeededAssetObject extends AssetObject {
  async seed(document: string): Promise<void> {
    this.ctx.storage.sql.exec("INSERT OR REPLACE INTO asset (id, revision, document) VALUES (1, 1, ?)", document);
  }
}

export class SeededFeedObject extends FeedObject {}

const setting = Policy.parse({});

async function seed(env: Env, { documents }: SeedOrder): Promise<void> {
  for (const { fileId, document } of documents) {
    const stub = env.ASSET.getByName(fileId) as unknown as SeededAssetObject;
    await stub.seed(document);
  }
}

async function find(env: Env, nowMs: number): Promise<SweepResult> {
  const beganAtMs = Date.now();
  const ground = await readGround(env.CATALOGUE, setting, nowMs);
  const result = { nominated: 0, unanswered: 0, rowsRead: ground.rowsRead };
  for (const quality of ["360p", "540p", "720p", "1080p", "2160p"] as const) {
    const { nominations, rowsRead } = await nominationsOf(env.CATALOGUE, ground, quality, nowMs);
    result.nominated += nominations.length;
    result.rowsRead += rowsRead;
  }
  await env.CATALOGUE.prepare("DELETE FROM sweeps").run();
  return { ...result, seconds: (Date.now() - beganAtMs) / 1000 };
}

async function sweep(env: Env, nowMs: number): Promise<SweepResult> {
  const beganAtMs = Date.now();
  const count = await sweepRetention(env, setting, nowMs);
  return { ...count, seconds: (Date.now() - beganAtMs) / 1000 };
}

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    const body: unknown = await request.json();
    if (pathname === "/seed") {
      await seed(env, SeedOrder.parse(body));
      return Response.json({});
    }
    const { nowMs } = SweepOrder.parse(body);
    return Response.json(await (pathname === "/find" ? find(env, nowMs) : sweep(env, nowMs)));
  },
  async queue(batch) {
    batch.ackAll();
  },
} satisfies ExportedHandler<Env>;
