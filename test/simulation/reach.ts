/** Brings an asset to a state in which a test begins. */
import type { AssetState } from "../../schemas/asset.ts";
import { World } from "./world.ts";

/** A world that got there without a fault. */
export function reach(status: AssetState, height = 720): World {
  const world = new World(height);
  while (world.run.status !== status) {
    if (world.flow()) continue;
    const due = world.run.asset.renditions.filter(({ copies }) =>
      copies.some(({ tier, state }) => tier === "r2" && state === "placed"),
    );
    if (status !== "evicted" || due.length === 0) throw new Error(`a healthy asset does not get to ${status}`);
    world.run.advance(365 * 24 * 60 * 60 * 1000);
    for (const { quality } of due) world.tell({ type: "RetentionElapsed", quality });
  }
  return world;
}
