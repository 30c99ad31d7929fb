/** What an operator orders for one asset: its proxies on R2 or off it, or kept there until a time; and why each copy is there. */
import { assetDoor } from "../../durable-objects/asset-door.ts";
import type { TokenClaims } from "../../schemas/api.ts";
import { Asset } from "../../schemas/asset.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import { QUALITIES, type Quality } from "../../schemas/ladder.ts";
import type { RetentionTerms } from "../../schemas/retention.ts";
import { AssetPath, EvictOrder, PinOrder, PromoteOrder } from "../../schemas/retention-order.ts";
import { WhyPage } from "../../schemas/why.ts";
import { Refusal } from "../problem.ts";
import { recordAudit } from "../stores/audit.ts";
import { decisionNowMs } from "../stores/clock.ts";
import type { Env } from "../stores/config.ts";
import { recentRetention, termsFor } from "../stores/retention-policy.ts";
import { assetFor, noSuchAsset } from "./asset-scope.ts";
import { aheadMs, operatorName, operators } from "./operator.ts";
import { peopleRoles } from "./role.ts";
import { reply, route } from "./route.ts";

const path = (verb: string) => `/v1/admin/assets/{fileId}/${verb}`;
const asking = { method: "POST", access: operators, params: AssetPath, answers: { 200: Asset } } as const;

interface Order {
  env: Env;
  caller: TokenClaims;
  requestId: string;
  asset: Asset;
}

/** Told first, recorded then: an order that nobody carried out leaves no line. @returns the asset as it is then */
async function give(order: Order, action: string, events: readonly AssetEvent[], detail: Record<string, unknown>) {
  const { env, caller, requestId, asset } = order;
  const by = operatorName(caller);
  let after = asset;
  let taken = 0;
  for (const [index, event] of events.entries()) {
    const answer = await assetDoor(env.ASSET, asset.fileId).apply({ key: `${requestId}:${index}`, by, event });
    if (answer.asset === null) throw noSuchAsset();
    if (answer.outcome === "applied") taken += 1;
    after = answer.asset;
  }
  const { clientName, projectName, fileId } = asset;
  const at = new Date(decisionNowMs(env)).toISOString();
  await recordAudit(env.CATALOGUE, { at, by, action, clientName, projectName, fileId, detail: { ...detail, taken } });
  return after;
}

export const promoteAsset = route({
  ...asking,
  path: path("promote"),
  summary: "Brings proxies to R2, and keeps them there until a time.",
  body: PromoteOrder,
  async handle({ env, caller, requestId }, { params: { fileId }, body: { qualities, until } }) {
    const asset = await assetFor(env, caller, fileId);
    const pinnedUntilMs = until === undefined ? null : aheadMs(until, decisionNowMs(env));
    const made = new Set(asset.renditions.map(({ quality }) => quality));
    const missing = qualities.filter((quality) => !made.has(quality));
    if (missing.length > 0) throw new Refusal("NOT_READY", `The asset has no ${missing.join(", ")}.`);
    const events = qualities.map((quality): AssetEvent => ({ type: "PromotionRequested", quality, pinnedUntilMs }));
    return reply(200, await give({ env, caller, requestId, asset }, "asset.promoted", events, { qualities, until }));
  },
});

export const evictAsset = route({
  ...asking,
  path: path("evict"),
  summary: "Takes proxies off R2 now. Wasabi is looked at again before anything goes; what is pinned is refused.",
  body: EvictOrder,
  async handle({ env, caller, requestId }, { params: { fileId }, body }) {
    const asset = await assetFor(env, caller, fileId);
    const nowMs = decisionNowMs(env);
    const wanted = new Set(body.qualities ?? QUALITIES);
    const onEdge = asset.renditions.flatMap(({ quality, copies }) =>
      copies.flatMap((copy) => (copy.tier === "r2" && wanted.has(quality) ? [{ quality, ...copy }] : [])),
    );
    const pinned = onEdge.find(({ pinnedUntil }) => pinnedUntil !== null && Date.parse(pinnedUntil) > nowMs);
    if (pinned !== undefined) {
      throw new Refusal("CONFLICT", `${pinned.quality} is pinned until ${pinned.pinnedUntil}: unpin the asset first.`);
    }
    const events = onEdge.map(({ quality }): AssetEvent => ({ type: "EvictionRequested", quality }));
    const detail = { qualities: onEdge.map(({ quality }) => quality) };
    return reply(200, await give({ env, caller, requestId, asset }, "asset.evicted", events, detail));
  },
});

export const pinAsset = route({
  ...asking,
  path: path("pin"),
  summary: "Keeps the asset's proxies on R2 until a time. They are not brought there by it.",
  body: PinOrder,
  async handle({ env, caller, requestId }, { params: { fileId }, body: { until } }) {
    const asset = await assetFor(env, caller, fileId);
    const events: AssetEvent[] = [{ type: "PinChanged", untilMs: aheadMs(until, decisionNowMs(env)) }];
    return reply(200, await give({ env, caller, requestId, asset }, "asset.pinned", events, { until }));
  },
});

export const unpinAsset = route({
  ...asking,
  path: path("unpin"),
  summary: "Lifts every pin of the asset and of its copies.",
  async handle({ env, caller, requestId }, { params: { fileId } }) {
    const asset = await assetFor(env, caller, fileId);
    const events: AssetEvent[] = [{ type: "PinChanged", untilMs: null }];
    return reply(200, await give({ env, caller, requestId, asset }, "asset.unpinned", events, {}));
  },
});

export const assetWhy = route({
  method: "GET",
  path: "/v1/assets/{fileId}/why",
  summary: "Why each copy is where it is: since when, what happens next, and what keeps it from happening.",
  access: { by: "token", roles: peopleRoles },
  params: AssetPath,
  answers: { 200: WhyPage },
  async handle({ env, caller }, { params: { fileId } }) {
    const asset = await assetFor(env, caller, fileId);
    const retention = await recentRetention(env, decisionNowMs(env));
    const terms = Object.fromEntries(
      QUALITIES.map((quality) => [quality, termsFor(retention, asset, quality)]),
    ) as Record<Quality, RetentionTerms>;
    return reply(200, { copies: await assetDoor(env.ASSET, fileId).why(terms) });
  },
});
