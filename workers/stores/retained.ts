/** When proxies leave R2, by the policy in force: the asset's own answer knows only the deployment's setting. */
import type { Asset, Copy } from "../../schemas/asset.ts";
import type { RetentionTerms, TermsByQuality } from "../../schemas/retention.ts";
import { decisionNowMs } from "./clock.ts";
import type { Env } from "./config.ts";
import { within } from "./deadline.ts";
import { type Retention, recentRetention, termsOf } from "./retention-policy.ts";

const dayMs = 24 * 60 * 60_000;

/** Who watches is told by the setting rather than later. */
const watchedTimeoutMs = 1_000;

/** At most 15 seconds old. @returns null where D1 does not tell in time */
export function watchedRetention(env: Env): Promise<Retention | null> {
  const late = () => new Error(`no answer within ${watchedTimeoutMs} ms`);
  return within(recentRetention(env, decisionNowMs(env)), watchedTimeoutMs, late).catch(() => null);
}

/** Without D1 the asset is told all the same, by the setting. */
export async function asRetained(env: Env, asset: Asset): Promise<Asset> {
  const retention = await recentRetention(env, decisionNowMs(env)).catch(() => null);
  return retained(asset, retention === null ? null : termsOf(retention, asset));
}

/** Pure. @param terms null leaves it as it is */
export function retained(asset: Asset, terms: TermsByQuality | null): Asset {
  if (terms === null) return asset;
  const renditions = asset.renditions.map((rendition) => {
    const copies = rendition.copies.map((copy) => underTerms(copy, terms[rendition.quality]));
    return { ...rendition, copies };
  });
  return { ...asset, renditions };
}

function underTerms(copy: Copy, { days, pinnedUntilMs }: RetentionTerms): Copy {
  if (copy.tier !== "r2") return copy;
  const pins = [copy.pinnedUntil, pinnedUntilMs === null ? null : new Date(pinnedUntilMs).toISOString()];
  // ISO 8601 text sorts as time does.
  const pinnedUntil =
    pins
      .filter((pin) => pin !== null)
      .sort()
      .at(-1) ?? null;
  if (copy.status !== "placed" || copy.placedAt === null) return { ...copy, pinnedUntil };
  const lastUseMs = Math.max(Date.parse(copy.placedAt), Date.parse(copy.lastAccessAt ?? copy.placedAt));
  const overMs = Math.max(lastUseMs + Math.ceil(days * dayMs), pinnedUntil === null ? 0 : Date.parse(pinnedUntil));
  return { ...copy, pinnedUntil, evictAfter: new Date(overMs).toISOString() };
}
