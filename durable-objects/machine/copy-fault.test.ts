/** Faults of copies, and deletion: nothing leaks, nothing is removed without proof, nothing fails a playable asset. */
import { describe, expect, test } from "vitest";
import { proxyKey } from "../../schemas/key.ts";
import { commandsIn } from "../../test/simulation/asset-run.ts";
import { content, upload } from "../../test/simulation/asset-sample.ts";
import { isAtRest } from "../../test/simulation/at-rest.ts";
import { reach } from "../../test/simulation/reach.ts";
import type { World } from "../../test/simulation/world.ts";
import { renditionOf } from "./authority.ts";
import { copyOn } from "./placement.ts";
import type { Transition } from "./transition.ts";

const commandTypes = (transition: Transition) => commandsIn(transition).map(({ type }) => type);
const jobOf = ({ run }: World) => run.asset.job;

const fail = (): never => {
  throw new Error("it is not there");
};

const copyOf = ({ run }: World) => {
  const rendition = renditionOf(run.asset, "360p");
  return rendition && copyOn(rendition, "r2");
};

/** The removal of 360p from R2 is asked for and not done. */
function evicting(): World {
  const world = reach("distributed");
  world.run.advance(31 * 24 * 60 * 60 * 1000);
  world.tell({ type: "RetentionElapsed", quality: "360p" });
  expect(copyOf(world)?.state).toBe("removing");
  return world;
}

describe("a copy", () => {
  test("with another size or checksum is not believed (Rule 3)", () => {
    const world = reach("evicted");
    const { sizeBytes, sha256 } = renditionOf(world.run.asset, "360p") ?? fail();
    if (sizeBytes === null || sha256 === null) throw new Error("nothing was archived");
    const jobId = jobOf(world).jobId ?? "";
    world.tell({ type: "ProxyRequested", quality: "360p", jobId });
    const { op } = copyOf(world)?.step ?? fail();
    const fact = { type: "CopyPlaced", tier: "r2", quality: "360p", op, etag: null } as const;
    const wrongBytes = { ...fact, jobId, sizeBytes, sha256: content(77).sha256 };
    expect(world.run.apply(wrongBytes).verdict).toBe("rejected");
    expect(world.run.apply({ ...fact, jobId, sizeBytes: sizeBytes + 1, sha256 }).verdict).toBe("rejected");
    expect(copyOf(world)?.state).toBe("placing");
    expect(world.run.apply({ ...fact, jobId, sizeBytes, sha256 }).verdict).toBe("applied");
  });

  test("whose consumers begin and fall silent again and again fails in the end, and says so", () => {
    const world = reach("evicted");
    world.tell({ type: "ProxyRequested", quality: "360p", jobId: jobOf(world).jobId ?? "" });
    const step = { kind: "copy", tier: "r2", quality: "360p" } as const;
    for (let silence = 1; copyOf(world)?.state === "placing"; silence++) {
      expect(silence).toBeLessThanOrEqual(world.run.policy.stepAttempts);
      const { op } = copyOf(world)?.step ?? fail();
      world.run.apply({ type: "StepBegan", step, op });
      world.run.fireTimer("r2:360p");
    }
    expect(copyOf(world)).toMatchObject({
      state: "failed",
      step: { phase: "idle", problem: { code: "STEP_OVERDUE" } },
    });
    expect(commandTypes(world.run.apply({ type: "RetryRequested" }))).toContain("PlaceEdgeCopy");
  });

  test("that turns up after its eviction is removed, with the proof of its archive", () => {
    const world = reach("evicted");
    const { sizeBytes, sha256 } = renditionOf(world.run.asset, "360p") ?? fail();
    const jobId = jobOf(world).jobId ?? "";
    if (sizeBytes === null || sha256 === null) throw new Error("nothing was archived");
    const late = world.run.apply({
      type: "CopyPlaced",
      tier: "r2",
      quality: "360p",
      jobId,
      op: 1,
      etag: null,
      sizeBytes,
      sha256,
    });
    expect(commandsIn(late)).toMatchObject([{ type: "RemoveEdgeCopy", archive: { key: proxyKey(upload, "360p") } }]);
  });

  test("that turns up in a deleted asset is removed", () => {
    const world = reach("distributed");
    const { sizeBytes, sha256 } = renditionOf(world.run.asset, "360p") ?? fail();
    const jobId = jobOf(world).jobId ?? "";
    world.tell({ type: "DeleteRequested" });
    world.settle();
    expect(world.run.status).toBe("deleted");
    if (sizeBytes === null || sha256 === null) throw new Error("nothing was archived");
    const late = world.tell({
      type: "CopyPlaced",
      tier: "r2",
      quality: "360p",
      jobId,
      op: 1,
      etag: null,
      sizeBytes,
      sha256,
    });
    expect(commandsIn(late)).toMatchObject([{ type: "RemoveEdgeCopy", archive: null }]);
    world.settle();
    expect(copyOf(world)?.state).toBe("evicted");
  });

  test("asked for while it is being removed is made again once that is over", () => {
    const world = evicting();
    const jobId = jobOf(world).jobId ?? "";
    expect(commandTypes(world.tell({ type: "ProxyRequested", quality: "360p", jobId }))).toEqual([]);
    expect(copyOf(world)).toMatchObject({ state: "removing", wantedAgain: true });
    const { op } = copyOf(world)?.step ?? fail();
    const removed = world.tell({ type: "CopyRemoved", tier: "r2", quality: "360p", jobId, op });
    expect(commandTypes(removed)).toEqual(["PlaceEdgeCopy"]);
    expect(copyOf(world)).toMatchObject({ state: "placing", wantedAgain: false });
  });

  test("whose removal is refused stays placed, with the reason; if it is gone after all, that is recorded", () => {
    const world = evicting();
    const { op } = copyOf(world)?.step ?? fail();
    const step = { kind: "copy", tier: "r2", quality: "360p" } as const;
    world.run.apply({ type: "StepFailed", step, op, code: "ETAG_MISMATCH", message: "not proven" });
    expect(copyOf(world)).toMatchObject({ state: "placed", step: { problem: { code: "ETAG_MISMATCH" } } });
    const jobId = jobOf(world).jobId ?? "";
    world.run.apply({ type: "CopyRemoved", tier: "r2", quality: "360p", jobId, op });
    expect(copyOf(world)).toMatchObject({ state: "evicted", step: { problem: null } });
  });

  test("on a LucidLink that is full waits for ever and never fails the asset", () => {
    const world = reach("distributing");
    const step = { kind: "copy", tier: "lucidlink", quality: "720p" } as const;
    const copyOnLucid = () => copyOn(renditionOf(world.run.asset, "720p") ?? fail(), "lucidlink") ?? fail();
    const full = {
      type: "StepDeferred",
      step,
      code: "LUCIDLINK_FULL",
      message: "No room.",
      retryAfterMs: null,
    } as const;
    for (let turn = 0; turn < 50; turn += 1) {
      world.run.apply({ ...full, op: copyOnLucid().step.op });
      expect(copyOnLucid().state).toBe("placing");
      const timer = world.run.fireTimer("lucidlink:720p");
      expect(commandTypes(timer)).toEqual(["PlaceEditorCopy"]);
    }
    expect(world.run.status).toBe("distributing");
    world.settle();
    expect(world.run.status).toBe("distributed");
    expect(world.run.announcements).not.toContain("asset.failed");
  });

  test("that the agent has begun is asked after, not begun again", () => {
    const world = reach("distributing");
    const step = { kind: "copy", tier: "lucidlink", quality: "720p" } as const;
    world.run.apply({ type: "StepBegan", step, op: 1 });
    expect(commandTypes(world.run.fireTimer("lucidlink:720p"))).toEqual(["CheckEditorCopy"]);
  });

  test("that LucidLink refuses is a problem of that copy alone, until an operator retries", () => {
    const world = reach("distributing");
    const step = { kind: "copy", tier: "lucidlink", quality: "720p" } as const;
    world.run.apply({ type: "StepFailed", step, op: 1, code: "PATH_REFUSED", message: "a link" });
    world.settle();
    expect(world.run.status).toBe("distributing");
    expect(isAtRest(world.run.asset)).toBe(true);
    world.tell({ type: "RetryRequested" });
    world.settle();
    expect(world.run.status).toBe("distributed");
  });
});

describe("deletion", () => {
  test.each(["received", "archived", "transcoding", "distributing", "distributed", "evicted"] as const)(
    "of a %s asset can be undone, and it ends as if it had not been deleted",
    (state) => {
      const world = reach(state);
      world.tell({ type: "DeleteRequested" });
      expect(world.run.status).toBe("deleting");
      expect(world.run.apply({ type: "GraceElapsed" }).verdict).toBe("ignored");
      world.tell({ type: "UndeleteRequested" });
      world.settle();
      expect(world.run.status).toBe(state === "evicted" ? "evicted" : "distributed");
    },
  );

  test("that is undone tells the application nothing that it knows", () => {
    const world = reach("distributed");
    const told = world.run.announcements.length;
    world.tell({ type: "DeleteRequested" });
    world.tell({ type: "UndeleteRequested" });
    world.settle();
    expect(world.run.announcements.slice(told)).toEqual([]);
  });

  test("that is not undone removes every copy, leaves a tombstone, and cannot be undone", () => {
    const world = reach("distributed");
    world.tell({ type: "DeleteRequested" });
    const { policy, nowMs } = world.run;
    const entombed = world.fire(world.run.nextTimer() ?? fail());
    expect(world.run.nowMs - nowMs).toBe(policy.deleteGraceMs);
    expect(commandTypes(entombed)).toEqual(["RemoveEdgeCopy", "RemoveEdgeCopy", "RemoveEditorCopy"]);
    expect(world.run.announcements.at(-1)).toBe("asset.deleted");
    world.settle();
    expect([...world.edge.keys(), ...world.editor.keys()]).toEqual([]);
    for (const event of ["UndeleteRequested", "RetryRequested", "DeleteRequested", "CancelRequested"] as const) {
      expect(world.run.apply({ type: event }).verdict).toBe("ignored");
    }
    expect(world.run.status).toBe("deleted");
  });

  test("whose removal failed is taken up again by a retry, and places nothing", () => {
    const world = reach("distributed");
    world.tell({ type: "DeleteRequested" });
    world.fire(world.run.nextTimer() ?? fail());
    const { op } = copyOf(world)?.step ?? fail();
    const step = { kind: "copy", tier: "r2", quality: "360p" } as const;
    world.tell({ type: "StepFailed", step, op, code: "WASABI_FORBIDDEN", message: "refused" });
    world.settle();
    expect(copyOf(world)?.state).toBe("failed");
    expect(commandTypes(world.tell({ type: "RetryRequested" }))).toEqual(["RemoveEdgeCopy"]);
    world.settle();
    expect([...world.edge.keys()]).toEqual([]);
  });

  test("while a copy waits for its archive removes whatever was made of it before", () => {
    const world = reach("distributed");
    const jobId = jobOf(world).jobId ?? "";
    world.loseArchive("360p");
    world.hear(0);
    world.tell({ type: "ProxyRequested", quality: "360p", jobId });
    expect(copyOf(world)?.state).toBe("wanted");
    world.tell({ type: "DeleteRequested" });
    world.run.advance(world.run.policy.deleteGraceMs);
    world.tell({ type: "GraceElapsed" });
    world.settle();
    expect([...world.edge.keys()]).toEqual([]);
  });
});
