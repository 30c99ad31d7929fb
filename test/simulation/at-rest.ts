/** When an asset waits for nothing. */
import { assetStatus } from "../../durable-objects/machine/asset-status.ts";
import type { Step, StoredAsset } from "../../schemas/asset-state.ts";
import { stepName } from "../../schemas/step.ts";

export function stepsOf({ job, renditions }: StoredAsset): [name: string, step: Step][] {
  return [
    ["archive", job.archive],
    ["transcode", job.transcode],
    ...renditions.flatMap(({ quality, step, copies }): [string, Step][] => [
      [stepName({ kind: "complete", quality }), step],
      ...copies.map(({ tier, step }): [string, Step] => [stepName({ kind: "copy", tier, quality }), step]),
    ]),
  ];
}

/** Final until somebody asks for something: no work is open, and whatever is not as wished says why. */
export function isAtRest(asset: StoredAsset): boolean {
  if (stepsOf(asset).some(([, { phase }]) => phase !== "idle")) return false;
  switch (assetStatus(asset)) {
    case "distributed":
    case "evicted":
    case "failed":
    case "cancelled":
    case "deleted":
      return true;
    case "distributing":
      return asset.renditions
        .flatMap(({ copies }) => copies)
        .every(({ state, step }) => state !== "wanted" && (state !== "failed" || step.problem !== null));
    case "received":
    case "archived":
    case "transcoding":
    case "deleting":
      return false;
  }
}
