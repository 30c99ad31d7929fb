/** Which tiers a rendition belongs on as soon as it is archived. Pure. */
import type { CopyReason, StoredAsset, StoredCopy, StoredRendition } from "../../schemas/asset-state.ts";
import type { CopyTier } from "../../schemas/id.ts";
import { qualityRank } from "../../schemas/ladder.ts";
import type { Policy } from "../../schemas/policy.ts";
import { idleStep } from "./step-clock.ts";

export function highestRendition(asset: StoredAsset): StoredRendition | null {
  return asset.renditions.reduce<StoredRendition | null>(
    (best, next) => (best === null || qualityRank(next.quality) > qualityRank(best.quality) ? next : best),
    null,
  );
}

/** Whether anything may be brought to a tier; what is being deleted only ever goes. */
export function mayPlace({ job }: StoredAsset): boolean {
  return job.state !== "cancelled" && job.state !== "deleting" && job.state !== "deleted";
}

export function wantedTiers(asset: StoredAsset, rendition: StoredRendition, { placement }: Policy): CopyTier[] {
  const tiers: CopyTier[] = [];
  if (placement.edgeQualities.includes(rendition.quality)) tiers.push("r2");
  if (placement.lucidlink && highestRendition(asset)?.quality === rendition.quality) tiers.push("lucidlink");
  return tiers;
}

export const newCopy = (tier: CopyTier, jobId: string, reason: CopyReason = "policy"): StoredCopy => ({
  tier,
  jobId,
  state: "wanted",
  wantedAgain: false,
  step: idleStep(),
  sizeBytes: null,
  etag: null,
  placedAtMs: null,
  verifiedAtMs: null,
  lastAccessAtMs: null,
  pinnedUntilMs: null,
  reason,
});

export function copyOn(rendition: StoredRendition, tier: CopyTier): StoredCopy | undefined {
  return rendition.copies.find((copy) => copy.tier === tier);
}
