/** Who keeps a proxy on R2, and what takes it away: terms, pins, operators, and the viewer who comes in between. */
import { describe, expect, test } from "vitest";
import { loadAssetState } from "../../schemas/asset-state.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import { commandsIn } from "../../test/simulation/asset-run.ts";
import { reach } from "../../test/simulation/reach.ts";
import { World } from "../../test/simulation/world.ts";
import { copyOn } from "./placement.ts";

const dayMs = 24 * 60 * 60 * 1000;
const quality = "360p";

function edgeCopy({ run }: World, of: string = quality) {
  const rendition = run.asset.renditions.find((each) => each.quality === of);
  const copy = rendition && copyOn(rendition, "r2");
  if (copy === undefined) throw new Error(`${of} has no copy on R2`);
  return copy;
}

function elapse(world: World, days: number, pinnedUntilMs: number | null = null) {
  return world.tell({ type: "RetentionElapsed", quality, terms: { days, pinnedUntilMs } }).verdict;
}

function settled(world: World): World {
  while (world.flow());
  return world;
}

describe("retention", () => {
  test("holds for the days that the nomination names, whatever the deployment's setting", () => {
    const world = reach("distributed");
    world.run.advance(3 * dayMs);
    expect(elapse(world, 4)).toBe("ignored");
    expect(elapse(world, 2)).toBe("applied");
    expect(edgeCopy(world).state).toBe("removing");
  });

  test("counts from the last access", () => {
    const world = reach("distributed");
    world.run.advance(3 * dayMs);
    world.tell({ type: "ProxyAccessed", tier: "r2", quality, jobId: edgeCopy(world).jobId });
    world.run.advance(dayMs);
    expect(elapse(world, 2)).toBe("ignored");
    world.run.advance(dayMs);
    expect(elapse(world, 2)).toBe("applied");
  });

  test.each([
    ["its project's pin", (_world: World, untilMs: number) => untilMs],
    ["the asset's pin", (world: World, untilMs: number) => void world.tell({ type: "PinChanged", untilMs })],
    [
      "a wish to keep it",
      (world: World, pinnedUntilMs: number) => void world.tell({ type: "PromotionRequested", quality, pinnedUntilMs }),
    ],
  ])("%s holds it until its end, and no longer", (_name, pin) => {
    const world = reach("distributed");
    const untilMs = world.run.nowMs + 40 * dayMs;
    const projectPin = pin(world, untilMs) ?? null;
    world.run.advance(40 * dayMs - 1);
    expect(elapse(world, 30, projectPin)).toBe("ignored");
    world.run.advance(1);
    expect(elapse(world, 30, projectPin)).toBe("applied");
  });
});

describe("an operator", () => {
  test("evicts now, and brings back", () => {
    const world = reach("distributed");
    expect(commandsIn(world.tell({ type: "EvictionRequested", quality })).map(({ type }) => type)).toEqual([
      "RemoveEdgeCopy",
    ]);
    settled(world);
    expect(edgeCopy(world).state).toBe("evicted");
    world.tell({ type: "PromotionRequested", quality, pinnedUntilMs: world.run.nowMs + dayMs });
    settled(world);
    expect(edgeCopy(world)).toMatchObject({ state: "placed", reason: "operator", lastAccessAtMs: null });
    expect(world.run.status).toBe("distributed");
    expect(world.tell({ type: "EvictionRequested", quality }).verdict).toBe("ignored");
  });

  test("brings a quality to R2 that never was there", () => {
    const world = reach("distributed");
    world.tell({ type: "PromotionRequested", quality: "720p", pinnedUntilMs: null });
    settled(world);
    expect(edgeCopy(world, "720p")).toMatchObject({ state: "placed", reason: "operator" });
  });

  test("who wants it while it is being removed gets it back", () => {
    const world = reach("distributed");
    world.tell({ type: "EvictionRequested", quality });
    world.tell({ type: "PromotionRequested", quality, pinnedUntilMs: null });
    settled(world);
    expect(edgeCopy(world).state).toBe("placed");
  });

  test("lifts every pin with one word", () => {
    const world = reach("distributed");
    const untilMs = world.run.nowMs + 90 * dayMs;
    world.tell({ type: "PinChanged", untilMs });
    world.tell({ type: "PromotionRequested", quality, pinnedUntilMs: untilMs });
    world.tell({ type: "PinChanged", untilMs: null });
    expect(world.run.asset.pinnedUntilMs).toBeNull();
    expect(edgeCopy(world).pinnedUntilMs).toBeNull();
    expect(world.tell({ type: "PinChanged", untilMs: null }).verdict).toBe("ignored");
    expect(world.tell({ type: "EvictionRequested", quality }).verdict).toBe("applied");
  });
});

test("a viewer who begins to play while it is being removed has it back", () => {
  const world = reach("distributed");
  world.run.advance(31 * dayMs);
  expect(elapse(world, 30)).toBe("applied");
  const { jobId } = edgeCopy(world);
  expect(world.tell({ type: "ProxyAccessed", tier: "r2", quality, jobId }).verdict).toBe("applied");
  settled(world);
  expect(edgeCopy(world)).toMatchObject({ state: "placed", reason: "viewer" });
  expect(world.edge.has(`proxies/${jobId}/${quality}.mp4`)).toBe(true);
});

describe("a pin given while a removal is under way", () => {
  test("has the copy made again", () => {
    const world = reach("distributed");
    world.run.advance(31 * dayMs);
    expect(elapse(world, 30)).toBe("applied");
    const pin = { type: "PinChanged", untilMs: world.run.nowMs + dayMs } as const;
    expect(world.tell(pin).verdict).toBe("applied");
    expect(world.tell(pin).verdict).toBe("ignored");
    const { jobId } = edgeCopy(world);
    settled(world);
    expect(edgeCopy(world)).toMatchObject({ state: "placed", reason: "operator" });
    expect(world.edge.has(`proxies/${jobId}/${quality}.mp4`)).toBe(true);
  });

  test("that is over already brings nothing back", () => {
    const world = reach("distributed");
    world.tell({ type: "EvictionRequested", quality });
    world.tell({ type: "PinChanged", untilMs: world.run.nowMs });
    settled(world);
    expect(edgeCopy(world).state).toBe("evicted");
  });
});

describe("an eviction of what is on its way to R2", () => {
  const key = (world: World) => `proxies/${edgeCopy(world).jobId}/${quality}.mp4`;
  const edgeStates = ({ run }: World) =>
    run.asset.renditions.flatMap(({ quality: of, copies }) =>
      copies.flatMap(({ tier, state }) => (tier === "r2" && of === quality ? [state] : [])),
    );

  function coming(): World {
    const world = new World(720);
    while (edgeStates(world)[0] !== "placing") if (!world.flow()) throw new Error("it never was on its way");
    return world;
  }

  test("asked for by a viewer meanwhile, it is sent once more ahead of the bulk, under the same op", () => {
    const world = coming();
    const { jobId, step } = edgeCopy(world);
    const asked = () => world.tell({ type: "ProxyRequested", quality, jobId });
    expect(commandsIn(asked())).toMatchObject([{ type: "PlaceEdgeCopy", op: step.op, rush: true }]);
    expect(asked().verdict).toBe("ignored");
    settled(world);
    expect(edgeCopy(world)).toMatchObject({ state: "placed", reason: "viewer" });
  });

  test("wished for by an operator, it goes with the bulk", () => {
    const world = reach("evicted");
    const wished = world.tell({ type: "PromotionRequested", quality, pinnedUntilMs: null });
    expect(commandsIn(wished)).toMatchObject([{ type: "PlaceEdgeCopy", rush: false }]);
  });

  test("ends with nothing on R2, whether the copy was made meanwhile or not", () => {
    for (const made of [true, false]) {
      const world = coming();
      if (made)
        world.take(
          world.commands.findIndex(({ type }) => type === "PlaceEdgeCopy"),
          "succeed",
        );
      expect(world.tell({ type: "EvictionRequested", quality }).verdict).toBe("applied");
      expect(edgeCopy(world).state).toBe("removing");
      settled(world);
      expect(edgeCopy(world).state).toBe("evicted");
      expect(world.edge.has(key(world))).toBe(false);
    }
  });

  test.each<[string, (world: World) => AssetEvent]>([
    ["a viewer", (world) => ({ type: "ProxyRequested", quality, jobId: edgeCopy(world).jobId })],
    ["an operator", () => ({ type: "PromotionRequested", quality, pinnedUntilMs: null })],
    ["a pin", (world) => ({ type: "PinChanged", untilMs: world.run.nowMs + dayMs })],
  ])("is taken back by %s that comes later", (_who, event) => {
    const world = coming();
    world.tell({ type: "EvictionRequested", quality });
    expect(world.tell(event(world)).verdict).toBe("applied");
    settled(world);
    expect(edgeCopy(world).state).toBe("placed");
    expect(world.edge.has(key(world))).toBe(true);
  });

  test("takes back what was asked for while it was being removed, and does not go past a pin", () => {
    const world = reach("distributed");
    world.tell({ type: "EvictionRequested", quality });
    world.tell({ type: "PromotionRequested", quality, pinnedUntilMs: null });
    const projectPinMs = world.run.nowMs + dayMs;
    expect(world.tell({ type: "EvictionRequested", quality, projectPinMs }).verdict).toBe("ignored");
    expect(world.tell({ type: "EvictionRequested", quality }).verdict).toBe("applied");
    expect(world.tell({ type: "EvictionRequested", quality }).verdict).toBe("ignored");
    settled(world);
    expect(edgeCopy(world).state).toBe("evicted");
  });

  test("does not go past a pin", () => {
    const world = coming();
    world.tell({ type: "PinChanged", untilMs: world.run.nowMs + dayMs });
    expect(world.tell({ type: "EvictionRequested", quality }).verdict).toBe("ignored");
    settled(world);
    expect(edgeCopy(world).state).toBe("placed");
  });

  test("leaves unmade what is only wished for", () => {
    const world = new World(720);
    while (world.run.asset.renditions.length === 0) world.flow();
    world.tell({ type: "PromotionRequested", quality, pinnedUntilMs: null });
    expect(edgeCopy(world).state).toBe("wanted");
    expect(world.tell({ type: "EvictionRequested", quality }).verdict).toBe("applied");
    settled(world);
    expect(edgeCopy(world)).toMatchObject({ state: "evicted", step: { op: 0 } });
  });

  test("waits for nobody where Wasabi lacks it: R2 may hold what it is restored from", () => {
    const world = coming();
    const { jobId } = edgeCopy(world);
    world.tell({ type: "ArchiveLost", quality, jobId, message: "Gone." });
    expect(world.tell({ type: "EvictionRequested", quality }).verdict).toBe("ignored");
  });
});

describe("a removal that is called off by its project's pin", () => {
  test("leaves the copy as it was", () => {
    const world = reach("distributed");
    const before = edgeCopy(world);
    world.run.advance(31 * dayMs);
    expect(elapse(world, 30)).toBe("applied");
    world.projectPinned = true;
    settled(world);
    const { placedAtMs, sizeBytes, lastAccessAtMs } = before;
    expect(edgeCopy(world)).toMatchObject({ state: "placed", placedAtMs, sizeBytes, lastAccessAtMs });
    expect(edgeCopy(world).step).toMatchObject({ phase: "idle", problem: null });
    expect(world.run.announcements).not.toContain("asset.evicted");
  });

  test("counts once: of an older removal, or about other bytes, it changes nothing", () => {
    const world = reach("distributed");
    const { jobId, step, sizeBytes } = edgeCopy(world);
    const sha256 = world.run.asset.renditions[0]?.sha256;
    if (sizeBytes === null || sha256 == null) throw new Error("the copy is not proven");
    const said = { type: "RemovalCalledOff", tier: "r2", quality, jobId, etag: null, sizeBytes, sha256 } as const;
    expect(world.tell({ ...said, op: step.op }).verdict).toBe("ignored");
    world.tell({ type: "EvictionRequested", quality });
    expect(world.tell({ ...said, op: step.op }).verdict).toBe("ignored");
    expect(world.tell({ ...said, op: step.op + 1, sizeBytes: sizeBytes + 1 }).verdict).toBe("rejected");
    expect(edgeCopy(world).state).toBe("removing");
    expect(world.tell({ ...said, op: step.op + 1 }).verdict).toBe("applied");
    expect(edgeCopy(world).state).toBe("placed");
  });

  test("is none once the asset is deleted", () => {
    const world = reach("distributed");
    world.tell({ type: "EvictionRequested", quality });
    world.projectPinned = true;
    world.tell({ type: "DeleteRequested" });
    world.run.advance(world.run.policy.deleteGraceMs);
    world.tell({ type: "GraceElapsed" });
    world.settle();
    expect(edgeCopy(world).state).toBe("evicted");
    expect(world.edge.size).toBe(0);
  });
});

test("an operator's eviction does not go past the project's pin", () => {
  const world = reach("distributed");
  const projectPinMs = world.run.nowMs + dayMs;
  expect(world.tell({ type: "EvictionRequested", quality, projectPinMs }).verdict).toBe("ignored");
  world.run.advance(dayMs);
  expect(world.tell({ type: "EvictionRequested", quality, projectPinMs }).verdict).toBe("applied");
});

test("a viewer of a deleted asset brings nothing back", () => {
  const world = reach("distributed");
  const { jobId } = edgeCopy(world);
  world.tell({ type: "DeleteRequested" });
  world.run.advance(world.run.policy.deleteGraceMs);
  world.tell({ type: "GraceElapsed" });
  expect(world.run.status).toBe("deleted");
  expect(edgeCopy(world).state).toBe("removing");
  expect(world.tell({ type: "ProxyAccessed", tier: "r2", quality, jobId }).verdict).toBe("ignored");
  settled(world);
  expect(world.run.asset.renditions.flatMap(({ copies }) => copies.map(({ state }) => state))).not.toContain("placed");
  expect(world.edge.size).toBe(0);
  expect(world.editor.size).toBe(0);
});

test("a document from before pins and reasons is read", () => {
  const { pinnedUntilMs: _, ...asset } = reach("distributed").run.asset;
  const renditions = asset.renditions.map(({ copies, ...rendition }) => ({
    ...rendition,
    copies: copies.map(({ reason: __, ...copy }) => copy),
  }));
  const loaded = loadAssetState(JSON.stringify({ ...asset, renditions }));
  expect(loaded.pinnedUntilMs).toBeNull();
  expect(loaded.renditions.flatMap(({ copies }) => copies.map(({ reason }) => reason))).not.toContain(undefined);
});
