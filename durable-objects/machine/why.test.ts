/** Every copy is explained, wherever it stands: what people read must be true of the state. */
import { expect, test } from "vitest";
import { loadAssetState } from "../../schemas/asset-state.ts";
import { QUALITIES, type Quality } from "../../schemas/ladder.ts";
import type { RetentionTerms } from "../../schemas/retention.ts";
import type { Why } from "../../schemas/why.ts";
import { reach } from "../../test/simulation/reach.ts";
import { World } from "../../test/simulation/world.ts";
import { explain } from "./why.ts";

const dayMs = 24 * 60 * 60 * 1000;
const iso = (atMs: number) => new Date(atMs).toISOString();

function termsOf(over: Partial<RetentionTerms> = {}) {
  const terms = QUALITIES.map((quality) => [quality, { days: 30, pinnedUntilMs: null, ...over }]);
  return Object.fromEntries(terms) as Record<Quality, RetentionTerms>;
}

function why({ run }: World, tier: Why["tier"], quality: Why["quality"], over: Partial<RetentionTerms> = {}): Why {
  const found = explain(run.asset, termsOf(over), run.nowMs).find(
    (each) => each.tier === tier && each.quality === quality,
  );
  if (found === undefined) throw new Error(`${quality} on ${tier} is not explained`);
  return found;
}

test("a distributed asset: every copy once, each with its reason", () => {
  const { run } = reach("distributed");
  const copies = explain(run.asset, termsOf(), run.nowMs);
  expect(copies.map(({ tier, quality }) => `${tier} ${quality}`)).toEqual([
    "wasabi original",
    "wasabi 360p",
    "r2 360p",
    "wasabi 540p",
    "r2 540p",
    "wasabi 720p",
    "lucidlink 720p",
  ]);
  expect(copies.map(({ since }) => since)).not.toContain(null);
  expect(copies.map(({ blockedBy }) => blockedBy)).toEqual(copies.map(() => null));
  expect(copies[0]).toMatchObject({ because: expect.stringContaining("stays in Wasabi"), next: null });
  expect(copies[1]).toMatchObject({ because: expect.stringContaining("Every rendition stays"), next: null });
  expect(copies[6]).toMatchObject({ because: expect.stringContaining("for editors"), next: null });
});

test("a proxy on R2 says when it leaves, by its own terms, and after an access later", () => {
  const world = reach("distributed");
  const placedAtMs = world.run.nowMs;
  expect(why(world, "r2", "360p", { days: 7 })).toMatchObject({
    because: expect.stringContaining("policy"),
    lastAccessAt: null,
    next: { action: "it leaves R2, unless somebody plays it before", at: iso(placedAtMs + 7 * dayMs) },
  });
  world.run.advance(dayMs);
  const { jobId } = world.run.asset.job;
  world.tell({ type: "ProxyAccessed", tier: "r2", quality: "360p", jobId: jobId ?? "" });
  expect(why(world, "r2", "360p")).toMatchObject({
    lastAccessAt: iso(placedAtMs + dayMs),
    next: { at: iso(placedAtMs + 31 * dayMs) },
  });
  world.run.advance(30 * dayMs);
  expect(why(world, "r2", "360p").next?.action).toBe("it leaves R2 with the next sweep");
});

test.each(["asset", "copy", "project"] as const)("a pin of the %s is what blocks, and moves the date", (whose) => {
  const world = reach("distributed");
  const untilMs = world.run.nowMs + 60 * dayMs;
  if (whose === "asset") world.tell({ type: "PinChanged", untilMs });
  if (whose === "copy") world.tell({ type: "PromotionRequested", quality: "360p", pinnedUntilMs: untilMs });
  const told = why(world, "r2", "360p", whose === "project" ? { pinnedUntilMs: untilMs } : {});
  expect(told.blockedBy).toBe(
    `${{ asset: "The asset", copy: "The copy", project: "Its project" }[whose]} is pinned until ${iso(untilMs)}.`,
  );
  expect(told.next?.at).toBe(iso(untilMs));
  world.run.advance(60 * dayMs);
  expect(why(world, "r2", "360p").blockedBy).toBeNull();
});

test("one that leaves, one that is gone, one that comes back for a viewer, one for an operator", () => {
  const world = reach("distributed");
  world.tell({ type: "EvictionRequested", quality: "360p" });
  expect(why(world, "r2", "360p")).toMatchObject({
    because: expect.stringContaining("is being removed"),
    next: { at: expect.any(String) },
  });
  while (world.flow());
  expect(why(world, "r2", "360p")).toMatchObject({
    since: null,
    because: expect.stringContaining("plays from Wasabi"),
    next: null,
  });
  const { jobId } = world.run.asset.job;
  world.tell({ type: "ProxyRequested", quality: "360p", jobId: jobId ?? "" });
  expect(why(world, "r2", "360p").because).toContain("on its way");
  while (world.flow());
  expect(why(world, "r2", "360p").because).toContain("A viewer asked");
  world.tell({ type: "EvictionRequested", quality: "360p" });
  world.tell({ type: "PromotionRequested", quality: "360p", pinnedUntilMs: null });
  expect(why(world, "r2", "360p").because).toContain("asked for meanwhile");
  while (world.flow());
  expect(why(world, "r2", "360p").because).toContain("An operator");
});

test("trouble is what blocks, with the time of the next try", () => {
  const world = reach("distributed");
  world.tell({ type: "EvictionRequested", quality: "360p" });
  const op = world.run.asset.renditions[0]?.copies[0]?.step.op ?? 0;
  const step = { kind: "copy", tier: "r2", quality: "360p" } as const;
  world.tell({ type: "StepDeferred", step, op, code: "WASABI_UNAVAILABLE", message: "503.", retryAfterMs: 60_000 });
  expect(why(world, "r2", "360p")).toMatchObject({
    blockedBy: "WASABI_UNAVAILABLE: 503.",
    next: { action: "it is tried again" },
  });
});

test("nothing leaves R2 while Wasabi lacks it, and it says so", () => {
  const world = reach("distributed");
  const rendition = world.run.asset.renditions[0];
  if (rendition === undefined) throw new Error("no rendition");
  world.tell({ type: "ArchiveLost", quality: "360p", jobId: rendition.jobId, message: "gone" });
  expect(why(world, "wasabi", "360p")).toMatchObject({
    since: null,
    because: expect.stringContaining("gone from Wasabi"),
  });
  expect(why(world, "r2", "360p")).toMatchObject({
    next: null,
    blockedBy: "Wasabi does not hold it: nothing leaves R2 before it does.",
  });
});

test("an original that is not there yet, and an asset about to be deleted", () => {
  const early = new World(720);
  expect(why(early, "wasabi", "original")).toMatchObject({
    since: null,
    because: expect.stringContaining("not verified"),
    next: { at: expect.any(String) },
  });
  const world = reach("distributed");
  world.tell({ type: "DeleteRequested" });
  const { graceEndsAtMs } = world.run.asset.job;
  expect(why(world, "wasabi", "original").next).toEqual({
    action: "the asset is deleted",
    at: iso(graceEndsAtMs ?? 0),
  });
});

test("it explains and changes nothing", () => {
  const { run } = reach("distributed");
  const before = JSON.stringify(run.asset);
  explain(loadAssetState(before), termsOf(), run.nowMs);
  expect(JSON.stringify(run.asset)).toBe(before);
});

test("of a job that was cancelled, what is not made says so", () => {
  const waiting = reach("received");
  waiting.tell({ type: "CancelRequested" });
  expect(why(waiting, "wasabi", "original")).toMatchObject({
    because: "The original was never verified in Wasabi, and nobody looks for it any more.",
    next: null,
    blockedBy: expect.stringMatching(/^CANCELLED: An operator/),
  });
  const encoding = reach("transcoding");
  while (encoding.run.asset.renditions.length === 0) encoding.flow();
  encoding.tell({ type: "CancelRequested" });
  expect(why(encoding, "wasabi", "360p")).toMatchObject({
    because: "It is to be encoded: no runner is at it.",
    next: null,
    blockedBy: expect.stringMatching(/^CANCELLED: An operator/),
  });
});
