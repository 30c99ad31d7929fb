/** The state that people see, derived from the job and the copies; and the phase that the application is told of. Pure. */
import type { AssetState } from "../../schemas/asset.ts";
import type { StoredAsset } from "../../schemas/asset-state.ts";
import type { AppEventType } from "../../schemas/command.ts";

export function assetStatus(asset: StoredAsset): AssetState {
  if (asset.job.state !== "encoded") return asset.job.state;
  const copies = asset.renditions.flatMap((rendition) => rendition.copies);
  const wanted = copies.some(({ state }) => state === "wanted" || state === "placing" || state === "failed");
  if (wanted) return "distributing";
  const onEdge = copies.some(({ tier, state }) => tier === "r2" && (state === "placed" || state === "removing"));
  return onEdge ? "distributed" : "evicted";
}

/**
 * What the application is to be told of a change of status (`asset.archived` and `asset.encoded` follow the job instead). A promotion that passes through `distributing`
 * is no new phase: only coming back from `evicted` is (`asset.restored`).
 */
export function phaseToAnnounce(
  before: AssetState | null,
  after: AssetState,
  announced: AppEventType | null,
): AppEventType | null {
  if (before === after) return null;
  switch (after) {
    case "distributed":
      if (announced === "asset.distributed" || announced === "asset.restored") return null;
      return announced === "asset.evicted" ? "asset.restored" : "asset.distributed";
    case "evicted":
      return announced === "asset.evicted" ? null : "asset.evicted";
    case "failed":
      return "asset.failed";
    case "cancelled":
      return "asset.cancelled";
    case "deleted":
      return "asset.deleted";
    case "received":
    case "archived":
    case "transcoding":
    case "distributing":
    case "deleting":
      return null;
  }
}
