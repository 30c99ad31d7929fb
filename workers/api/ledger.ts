/** What operators and producers ask about money: what lies where, what left Wasabi this month, what deleting still costs. */
import { z } from "zod";
import type { Asset } from "../../schemas/asset.ts";
import type { Tier } from "../../schemas/id.ts";
import {
  CapacityReport,
  DeletionCost,
  EgressReport,
  egressReport,
  StorageReport,
  type StorageRow,
} from "../../schemas/ledger.ts";
import { cents, earlyDeletionUsd, minimumEndsAtMs, monthlyUsd } from "../../schemas/price.ts";
import { AssetPath } from "../../schemas/retention-order.ts";
import { decisionNowMs } from "../stores/clock.ts";
import { egressOf } from "../stores/egress.ts";
import { agentHealth } from "../stores/lucidlink.ts";
import { countStorage, newestCount } from "../stores/storage-count.ts";
import { assetFor } from "./asset-scope.ts";
import { mustReachAll, operators } from "./operator.ts";
import { reply, route } from "./route.ts";

const iso = (atMs: number) => new Date(atMs).toISOString();
const sum = (rows: readonly { bytes: number }[]) => rows.reduce((total, { bytes }) => total + bytes, 0);

function totals(rows: readonly StorageRow[]): StorageReport["tiers"] {
  const tiers = [...new Set(rows.map(({ tier }) => tier))];
  return tiers.sort().map((tier: Tier) => {
    const ofTier = rows.filter((row) => row.tier === tier);
    const objects = ofTier.reduce((total, row) => total + row.objects, 0);
    return { tier, objects, bytes: sum(ofTier), usdPerMonth: monthlyUsd(tier, sum(ofTier)) };
  });
}

export const storage = route({
  method: "GET",
  path: "/v1/admin/storage",
  summary: "What lies on each tier and what it costs a month, in all and by client, as counted once a day.",
  access: operators,
  query: z.strictObject({
    /** Counts again first: every row of the catalogue is read. */
    fresh: z.enum(["true", "false"]).default("false"),
  }),
  answers: { 200: StorageReport },
  async handle({ env, caller }, { query: { fresh } }) {
    if (fresh === "true") await countStorage(env.CATALOGUE, iso(decisionNowMs(env)));
    const rows = await newestCount(env.CATALOGUE, caller.clients);
    const clients = [...new Set(rows.map(({ clientName }) => clientName))];
    return reply(200, {
      countedAt: rows[0]?.countedAt ?? null,
      tiers: totals(rows),
      clients: clients.map((clientName) => ({
        clientName,
        tiers: totals(rows.filter((row) => row.clientName === clientName)),
      })),
    });
  },
});

export const egress = route({
  method: "GET",
  path: "/v1/admin/egress",
  summary: "What left Wasabi in a month against what is stored there: its fair-use rule. Measured apart from granted.",
  access: operators,
  query: z.strictObject({
    month: z
      .string()
      .regex(/^\d{4}-(0[1-9]|1[0-2])$/, "must be a month, as 2026-11")
      .optional(),
  }),
  answers: { 200: EgressReport },
  async handle({ env, caller }, { query }) {
    mustReachAll(caller);
    const month = query.month ?? iso(decisionNowMs(env)).slice(0, 7);
    const rows = (await newestCount(env.CATALOGUE, ["*"])).filter(({ tier }) => tier === "wasabi");
    const storedBytes = rows.length === 0 ? null : sum(rows);
    return reply(200, egressReport(month, await egressOf(env.CATALOGUE, month), storedBytes));
  },
});

export const capacity = route({
  method: "GET",
  path: "/v1/admin/capacity",
  summary: "How full LucidLink is: what we placed there, and what its agent sees free.",
  access: operators,
  answers: { 200: CapacityReport },
  async handle({ env, config, caller }) {
    mustReachAll(caller);
    if (config.lucidAgent === null) return reply(200, { lucidlink: null });
    const rows = (await newestCount(env.CATALOGUE, ["*"])).filter(({ tier }) => tier === "lucidlink");
    const objects = rows.reduce((total, row) => total + row.objects, 0);
    const health = await agentHealth(config.lucidAgent);
    const seen = { freeBytes: health?.freeBytes ?? null, mounted: health?.mounted ?? null };
    return reply(200, { lucidlink: { objects, bytes: sum(rows), ...seen } });
  },
});

/** What lies in Wasabi of an asset; an original counts from its verification, which is later than its upload. */
function archivedObjects({ original, renditions }: Asset) {
  const proxies = renditions.flatMap(({ sizeBytes, copies }) =>
    copies.flatMap(({ tier, key, placedAt }) =>
      tier === "wasabi" && placedAt !== null && sizeBytes !== null ? [{ key, sizeBytes, writtenAt: placedAt }] : [],
    ),
  );
  if (original === null) return proxies;
  const { key, sizeBytes, verifiedAt } = original;
  return [{ key, sizeBytes, writtenAt: verifiedAt }, ...proxies];
}

export function deletionCostOf(asset: Asset, nowMs: number): DeletionCost {
  const objects = archivedObjects(asset).map(({ key, sizeBytes, writtenAt }) => {
    const writtenAtMs = Date.parse(writtenAt);
    const usd = earlyDeletionUsd({ sizeBytes, writtenAtMs }, nowMs);
    return { key, bytes: sizeBytes, writtenAt, endsAtMs: minimumEndsAtMs(writtenAtMs), usd };
  });
  const lastEndMs = Math.max(...objects.map(({ endsAtMs }) => endsAtMs));
  return {
    bytes: sum(objects),
    minimumEndsAt: objects.length === 0 ? null : iso(lastEndMs),
    remainingUsd: cents(objects.reduce((total, { usd }) => total + usd, 0)),
    objects: objects.map(({ endsAtMs, usd, ...object }) => ({
      ...object,
      minimumEndsAt: iso(endsAtMs),
      remainingUsd: cents(usd),
    })),
  };
}

export const deletionCost = route({
  method: "GET",
  path: "/v1/admin/assets/{fileId}/deletion-cost",
  summary: "What Wasabi would still bill, under its 90-day minimum, should the asset be deleted now.",
  access: operators,
  params: AssetPath,
  answers: { 200: DeletionCost },
  async handle({ env, caller }, { params: { fileId } }) {
    return reply(200, deletionCostOf(await assetFor(env, caller, fileId), decisionNowMs(env)));
  },
});
