/**
 * What an operator orders for one asset: its proxies on R2 or off it, or kept there until a time, or no more work on it; and
 * why each copy is where it is.
 */
import { assetDoor } from "../../durable-objects/asset-door.ts";
import type { TokenClaims } from "../../schemas/api.ts";
import { Asset } from "../../schemas/asset.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import { QUALITIES, type Quality } from "../../schemas/ladder.ts";
import { AssetPath, EvictOrder, PinOrder, PromoteOrder } from "../../schemas/retention-order.ts";
import { WhyPage } from "../../schemas/why.ts";
import { log } from "../log.ts";
import { Refusal } from "../problem.ts";
import { noteOutcome, recordAudit } from "../stores/audit.ts";
import { decisionNowMs } from "../stores/clock.ts";
import type { Env } from "../stores/config.ts";
import { asRetained } from "../stores/retained.ts";
import { projectPinOf, recentRetention, termsOf } from "../stores/retention-policy.ts";
import { assetFor, noSuchAsset } from "./asset-scope.ts";
import { aheadMs, operatorName, operators } from "./operator.ts";
import { peopleRoles } from "./role.ts";
import { reply, route } from "./route.ts";

const path = (verb: string) => `/v1/admin/assets/{fileId}/${verb}`;
const asking = { method: "POST", access: operators, params: AssetPath, answers: { 200: Asset } } as const;

interface Operator {
  env: Env;
  caller: TokenClaims;
  requestId: string;
  asset: Asset;
}

interface Order {
  action: string;
  events: readonly AssetEvent[];
  detail: Record<string, unknown>;
  /** Whether an asset is as was asked, so that one that had nothing to do is no refusal. */
  isMet(asset: Asset): boolean;
  /** To an asset that took nothing of it, and is not as was asked. */
  refuse?(asset: Asset): Refusal;
}

const tookNothing = ({ state }: Asset) =>
  new Refusal("NOT_READY", `The asset is ${state}, and took nothing of the order.`);

/** @returns the asset as it is then @throws Refusal when it took nothing of it, and is not as was asked */
async function give(
  { env, caller, requestId, asset }: Operator,
  { action, events, detail, isMet, refuse = tookNothing }: Order,
) {
  const by = operatorName(caller);
  const { clientName, projectName, fileId } = asset;
  const at = new Date(decisionNowMs(env)).toISOString();
  const line = await recordAudit(env.CATALOGUE, { at, by, action, clientName, projectName, fileId, detail });
  let after = asset;
  let taken = 0;
  for (const [index, event] of events.entries()) {
    const answer = await assetDoor(env.ASSET, asset.fileId).apply({ key: `${requestId}:${index}`, by, event });
    if (answer.asset === null) throw noSuchAsset();
    if (answer.outcome === "applied") taken += 1;
    after = answer.asset;
  }
  await noteOutcome(env.CATALOGUE, line, { ...detail, taken }).catch((error: unknown) =>
    log({ event: "audit.outcome-unnoted", fileId, action }, error),
  );
  if (taken === 0 && !isMet(after)) throw refuse(after);
  return asRetained(env, after);
}

/** @returns null for what was never there */
function edgeStatusOf({ renditions }: Asset, quality: Quality) {
  const copies = renditions.find((rendition) => rendition.quality === quality)?.copies ?? [];
  return copies.find(({ tier }) => tier === "r2")?.status ?? null;
}

const isLeaving = (status: ReturnType<typeof edgeStatusOf>) =>
  status === null || status === "evicted" || status === "removing";
const isComing = (status: ReturnType<typeof edgeStatusOf>) =>
  status !== null && status !== "evicted" && status !== "failed";
const isThere = ({ state }: Asset) => state !== "deleted";
const mayComeBack = ({ state }: Asset) => state !== "cancelled" && state !== "deleting" && state !== "deleted";

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
    const isMet = (after: Asset) =>
      mayComeBack(after) && qualities.every((quality) => isComing(edgeStatusOf(after, quality)));
    const order = { action: "asset.promoted", events, detail: { qualities, until }, isMet };
    return reply(200, await give({ env, caller, requestId, asset }, order));
  },
});

export const evictAsset = route({
  ...asking,
  path: path("evict"),
  summary:
    "Takes proxies off R2 now. Wasabi is looked at again before anything goes; what is pinned, or of a pinned project, is refused.",
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
    const projectPin = await projectPinOf(env.CATALOGUE, asset, nowMs);
    if (projectPin !== null) {
      throw new Refusal("CONFLICT", `The asset's project is pinned until ${projectPin}: unpin the project first.`);
    }
    const qualities = onEdge.map(({ quality }) => quality);
    const events = qualities.map((quality): AssetEvent => ({ type: "EvictionRequested", quality }));
    const isMet = (after: Asset) => qualities.every((quality) => isLeaving(edgeStatusOf(after, quality)));
    const order = { action: "asset.evicted", events, detail: { qualities }, isMet };
    return reply(200, await give({ env, caller, requestId, asset }, order));
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
    const order = { action: "asset.pinned", events, detail: { until }, isMet: isThere };
    return reply(200, await give({ env, caller, requestId, asset }, order));
  },
});

export const unpinAsset = route({
  ...asking,
  path: path("unpin"),
  summary: "Lifts every pin of the asset and of its copies.",
  async handle({ env, caller, requestId }, { params: { fileId } }) {
    const asset = await assetFor(env, caller, fileId);
    const events: AssetEvent[] = [{ type: "PinChanged", untilMs: null }];
    const order = { action: "asset.unpinned", events, detail: {}, isMet: isThere };
    return reply(200, await give({ env, caller, requestId, asset }, order));
  },
});

export const cancelAsset = route({
  ...asking,
  path: path("cancel"),
  summary:
    "Stops the job, its runner's encode included. What is archived stays; a retry goes on from there. 409 once every rendition is made.",
  async handle({ env, caller, requestId }, { params: { fileId } }) {
    const asset = await assetFor(env, caller, fileId);
    const order: Order = {
      action: "asset.cancelled",
      events: [{ type: "CancelRequested" }],
      detail: { state: asset.state },
      isMet: ({ state }) => state === "cancelled",
      refuse: ({ state }) => new Refusal("CONFLICT", `The asset is ${state}: there is no job left to cancel.`),
    };
    return reply(200, await give({ env, caller, requestId, asset }, order));
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
    return reply(200, { copies: await assetDoor(env.ASSET, fileId).why(termsOf(retention, asset)) });
  },
});
