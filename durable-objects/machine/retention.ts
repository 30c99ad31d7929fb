/** When a copy may leave R2. Pure; the cost of asking is the caller's. */
import type { StoredAsset, StoredCopy } from "../../schemas/asset-state.ts";
import type { RetentionTerms } from "../../schemas/retention.ts";

const dayMs = 24 * 60 * 60 * 1000;

type RetainedCopy = Pick<StoredCopy, "tier" | "state" | "placedAtMs" | "lastAccessAtMs" | "pinnedUntilMs">;
type Pinned = Pick<StoredAsset, "pinnedUntilMs">;

/** The latest of the asset's pin, the copy's own, and its project's. */
export function pinnedUntilMs(asset: Pinned, copy: RetainedCopy, projectPinMs: number | null = null): number | null {
  if (copy.tier !== "r2") return null;
  const pins = [asset.pinnedUntilMs, copy.pinnedUntilMs, projectPinMs].filter((untilMs) => untilMs !== null);
  return pins.length === 0 ? null : Math.max(...pins);
}

/** @returns when the copy's retention ends (epoch ms), or null for a copy that never leaves by itself. */
export function evictAfterMs(asset: Pinned, copy: RetainedCopy, terms: RetentionTerms): number | null {
  if (copy.tier !== "r2" || copy.state !== "placed" || copy.placedAtMs === null) return null;
  const lastUseMs = Math.max(copy.placedAtMs, copy.lastAccessAtMs ?? 0);
  return Math.max(lastUseMs + Math.ceil(terms.days * dayMs), pinnedUntilMs(asset, copy, terms.pinnedUntilMs) ?? 0);
}

export function isRetentionOver(asset: Pinned, copy: RetainedCopy, terms: RetentionTerms, atMs: number): boolean {
  const afterMs = evictAfterMs(asset, copy, terms);
  return afterMs !== null && afterMs <= atMs;
}
