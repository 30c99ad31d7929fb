/** When proxies leave R2, by the policy in force: the asset's own answer knows only the deployment's setting. */
import type { Asset, Copy } from "../../schemas/asset.ts";
import type { RetentionTerms, TermsByQuality } from "../../schemas/retention.ts";
import { decisionNowMs } from "./clock.ts";
import type { Env } from "./config.ts";
import { recentRetention, termsOf } from "./retention-policy.ts";

const dayMs = 24 * 60 * 60_000;

/** @returns null without D1 */
export async function recentTerms(
  env: Env,
  owner: { clientName: string; projectName: string },
): Promise<TermsByQuality | null> {
  const retention = await recentRetention(env, decisionNowMs(env)).catch(() => null);
  return retention === null ? null : termsOf(retention, owner);
}

/** Without D1 the asset is told all the same, by the setting. */
export async function asRetained(env: Env, asset: Asset): Promise<Asset> {
  return retained(asset, await recentTerms(env, asset));
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
