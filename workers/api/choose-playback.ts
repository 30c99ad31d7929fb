/** Which rendition is played when none is asked for: pure, so that the choice can be read and tested. */
import type { Asset, Rendition } from "../../schemas/asset.ts";
import { type Quality, qualityRank } from "../../schemas/ladder.ts";

const lies = (rendition: Rendition, tier: "r2") =>
  rendition.copies.some((copy) => copy.tier === tier && copy.status === "placed");

/** Archived in Wasabi, or (while it is missing there) still on R2. */
function playable(rendition: Rendition): boolean {
  return rendition.status === "archived" || lies(rendition, "r2");
}

/**
 * Asked for one quality: that one, when it can be played. Else the best up to 1080p that lies on R2; with nothing there,
 * the best archived up to 1080p, then whatever is left from the lowest up: 2160p is played by those who ask for it.
 */
export function choosePlayback(asset: Asset, wanted: Quality | undefined): Rendition | null {
  const candidates = asset.renditions.filter(playable).sort((a, b) => qualityRank(b.quality) - qualityRank(a.quality));
  if (wanted !== undefined) return candidates.find(({ quality }) => quality === wanted) ?? null;
  const modest = candidates.filter(({ quality }) => qualityRank(quality) <= qualityRank("1080p"));
  return modest.find((rendition) => lies(rendition, "r2")) ?? modest[0] ?? candidates.at(-1) ?? null;
}
