/** When a copy may leave R2. Pure; the cost of asking is the caller's. */
import type { StoredCopy } from "../../schemas/asset-state.ts";
import type { Quality } from "../../schemas/ladder.ts";
import type { Policy } from "../../schemas/policy.ts";

const dayMs = 24 * 60 * 60 * 1000;

/** @returns when the copy's retention ends (epoch ms), or null for a copy that never leaves by itself. */
export function evictAfterMs(
  quality: Quality,
  copy: Pick<StoredCopy, "tier" | "state" | "placedAtMs" | "lastAccessAtMs" | "pinnedUntilMs">,
  policy: Pick<Policy, "retentionDays">,
): number | null {
  if (copy.tier !== "r2" || copy.state !== "placed" || copy.placedAtMs === null) return null;
  const lastUseMs = Math.max(copy.placedAtMs, copy.lastAccessAtMs ?? 0);
  return Math.max(lastUseMs + policy.retentionDays[quality] * dayMs, copy.pinnedUntilMs ?? 0);
}

export function isRetentionOver(
  quality: Quality,
  copy: Parameters<typeof evictAfterMs>[1],
  policy: Pick<Policy, "retentionDays">,
  atMs: number,
): boolean {
  const afterMs = evictAfterMs(quality, copy, policy);
  return afterMs !== null && afterMs <= atMs;
}
