/** A verified original that is gone from Wasabi: a problem of the asset, whatever state it is in, and of no job. */
import { describe, expect, test } from "vitest";
import { loadAssetState, type StoredAsset } from "../../schemas/asset-state.ts";
import { reach } from "../../test/simulation/reach.ts";
import type { World } from "../../test/simulation/world.ts";
import { assetStatus } from "./asset-status.ts";
import { viewAsset } from "./view.ts";
import { explain } from "./why.ts";

const etagOf = ({ run }: World) => run.asset.original?.etag ?? "";
const lost = (world: World, etag = etagOf(world)) =>
  ({ type: "OriginalLost", etag, code: "ORIGINAL_MISSING", message: "Nothing is there any more." }) as const;
const view = ({ run }: World) => viewAsset(run.asset, 1, run.policy, null);

describe.each(["archived", "transcoding", "distributed"] as const)("while it is %s", (state) => {
  test("a lost original is told, and changes nothing else", () => {
    const world = reach(state);
    const before = structuredClone(world.run.asset);
    expect(world.tell(lost(world)).verdict).toBe("applied");
    expect(assetStatus(world.run.asset)).toBe(assetStatus(before));
    expect(world.run.asset.job).toEqual(before.job);
    expect(world.run.asset.renditions).toEqual(before.renditions);
    expect(view(world).problem).toMatchObject({ step: "original", code: "ORIGINAL_MISSING", retryable: false });
  });

  test("it is told once; of another version nothing is heard; what came in its place is another code", () => {
    const world = reach(state);
    expect(world.tell(lost(world, "another")).verdict).toBe("ignored");
    world.tell(lost(world));
    const sinceAtMs = world.run.asset.original?.loss?.sinceAtMs;
    expect(world.tell(lost(world)).verdict).toBe("ignored");
    world.run.nowMs += 60_000;
    const replaced = { ...lost(world), code: "ETAG_MISMATCH", message: "Another is there." } as const;
    expect(world.tell(replaced).verdict).toBe("applied");
    expect(world.run.asset.original?.loss).toMatchObject({ code: "ETAG_MISMATCH", sinceAtMs });
  });

  test("found again, it is as before", () => {
    const world = reach(state);
    const before = view(world).problem;
    const found = { type: "OriginalFound", etag: etagOf(world) } as const;
    expect(world.tell(found).verdict).toBe("ignored");
    world.tell(lost(world));
    expect(world.tell({ ...found, etag: "another" }).verdict).toBe("ignored");
    expect(world.tell(found).verdict).toBe("applied");
    expect(view(world).problem).toEqual(before);
  });

  test("a document from before anybody looked loads, and has lost nothing", () => {
    const stored = structuredClone(reach(state).run.asset) as unknown as { original: Record<string, unknown> };
    delete stored.original.loss;
    const loaded: StoredAsset = loadAssetState(JSON.stringify(stored));
    expect(loaded.original).not.toHaveProperty("loss");
  });
});

test("why says that it is gone", () => {
  const world = reach("distributed");
  world.tell(lost(world));
  const terms = {} as Parameters<typeof explain>[1];
  const all = new Proxy(terms, { get: () => ({ days: 30, pinnedUntilMs: null }) });
  expect(explain(world.run.asset, all, world.run.nowMs)[0]).toMatchObject({
    since: null,
    because: expect.stringContaining("deleted or replaced"),
    blockedBy: "ORIGINAL_MISSING: Nothing is there any more.",
  });
});

test("before there is a verified original, none can be lost", () => {
  const world = reach("received");
  expect(world.tell(lost(world, "e")).verdict).toBe("ignored");
});
