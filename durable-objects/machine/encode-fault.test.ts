/** Faults of an encode and of what it made, one at a time: what is done again, what is kept. */
import { describe, expect, test } from "vitest";
import type { AssetEvent } from "../../schemas/event.ts";
import { type FailureCode, failureFacts } from "../../schemas/failure.ts";
import { proxyKey } from "../../schemas/key.ts";
import { commandsIn } from "../../test/simulation/asset-run.ts";
import { content, upload } from "../../test/simulation/asset-sample.ts";
import { reach } from "../../test/simulation/reach.ts";
import type { World } from "../../test/simulation/world.ts";
import { renditionOf } from "./authority.ts";
import { copyOn } from "./placement.ts";
import type { Transition } from "./transition.ts";

const commandTypes = (transition: Transition) => commandsIn(transition).map(({ type }) => type);
const jobOf = ({ run }: World) => run.asset.job;
const leaseOf = (world: World) => jobOf(world).lease?.token ?? "";

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

/** A lease held, 360p archived, 540p uploading, 720p not begun. */
function midEncode(): World {
  const world = reach("transcoding");
  const runner = world.healthy;
  world.work(runner);
  world.work(runner);
  world.work(runner);
  world.hear(0);
  world.take(0, "succeed");
  world.hear(0);
  world.work(runner);
  const states = world.run.asset.renditions.map(({ state, upload }) => [state, upload !== null]);
  expect(states).toEqual([
    ["archived", false],
    ["encoding", true],
    ["encoding", false],
  ]);
  return world;
}

describe("an encode", () => {
  test("whose source is no media fails at the first try, whatever the runner thinks of trying again", () => {
    const world = reach("transcoding");
    const lease = leaseOf(world);
    world.tell({ type: "TranscodeFailed", lease, code: "INVALID_MEDIA", message: "It is text.", retryable: true });
    expect(world.run.status).toBe("failed");
    expect(jobOf(world)).toMatchObject({ lease: null, transcode: { problem: { code: "INVALID_MEDIA" } } });
    expect(world.run.nextTimer()).toBeNull();
  });

  test("whose runner falls silent is offered again: its uploads aborted, what is archived kept", () => {
    const world = midEncode();
    const open = renditionOf(world.run.asset, "540p")?.upload?.uploadId;
    const expired = world.run.fireTimer("lease");
    expect(commandsIn(expired)).toEqual([
      { type: "EndLease", reason: "stale", message: expect.any(String) },
      { type: "EnqueueTranscode", jobId: jobOf(world).jobId, generation: 2, priority: 50 },
      { type: "AbortUpload", key: proxyKey(upload, "540p"), uploadId: open },
    ]);
    expect(world.run.status).toBe("archived");
    expect(world.run.asset.renditions.map(({ state }) => state)).toEqual(["archived", "wanted", "wanted"]);
    const archivedAtMs = renditionOf(world.run.asset, "360p")?.verifiedAtMs;
    for (const effect of commandsIn(expired)) if (effect.type === "EnqueueTranscode") world.commands.push(effect);
    world.settle();
    expect(world.run.status).toBe("distributed");
    expect(renditionOf(world.run.asset, "360p")?.verifiedAtMs).toBe(archivedAtMs);
    expect(renditionOf(world.run.asset, "360p")?.step.op).toBe(1);
  });

  test("whose runner is shut down is offered at once, and it does not count", () => {
    const world = midEncode();
    const released = world.tell({ type: "LeaseReleased", lease: leaseOf(world), reason: "SIGTERM" });
    expect(commandTypes(released)).toEqual(["EnqueueTranscode", "AbortUpload"]);
    expect(jobOf(world)).toMatchObject({ state: "archived", generation: 2, lease: null, transcodeFailures: [] });
  });

  test("facts of a lease that is over are ignored", () => {
    const world = midEncode();
    const lease = leaseOf(world);
    world.fire({
      name: "lease",
      atMs: jobOf(world).lease?.expiresAtMs ?? 0,
      event: { type: "LeaseExpired", generation: 1 },
    });
    const made = { width: 2, height: 2, frames: 1, durationSeconds: 1, ...content(9) };
    const late: AssetEvent[] = [
      { type: "RenditionUploaded", lease, quality: "540p", ...made },
      { type: "TranscodeFailed", lease, code: "INVALID_MEDIA", message: "late", retryable: false },
      { type: "LeaseRenewed", lease },
      { type: "LeaseReleased", lease, reason: "late" },
    ];
    for (const event of late) expect(world.run.apply(event).verdict, event.type).toBe("ignored");
  });

  const failing: [runners: string[], code: string][] = [
    [["one", "two", "three"], "POISON_ASSET"],
    [["one", "one", "one"], "ENCODER_FAILED"],
    [["one", "two", "one", "two", "one"], "ENCODER_FAILED"],
  ];
  test.each(failing)("that fails on %j ends as %s", (runners, code) => {
    const world = reach("archived");
    for (const [attempt, runnerId] of runners.entries()) {
      expect(world.run.status).toBe("archived");
      if (attempt > 0) expect(commandTypes(world.run.fireTimer("transcode"))).toEqual(["EnqueueTranscode"]);
      world.tell({ type: "TranscodeClaimed", generation: jobOf(world).generation, runnerId, encoder: "libx264" });
      const lease = leaseOf(world);
      world.tell({ type: "TranscodeFailed", lease, code: "ENCODER_FAILED", message: "exit 1", retryable: true });
    }
    expect(world.run.status).toBe("failed");
    expect(jobOf(world).transcode.problem).toMatchObject({
      code,
      retryable: failureFacts[code as FailureCode].retryable,
    });
    world.tell({ type: "RetryRequested" });
    world.settle();
    expect(world.run.status).toBe("distributed");
  });

  test("on runners that all fall silent is given up in the end", () => {
    const world = reach("archived");
    for (let silence = 1; silence <= 2 * world.run.policy.transcodeAttempts; silence += 1) {
      expect(world.run.status).toBe("archived");
      const runnerId = `runner-${silence}`;
      world.tell({ type: "TranscodeClaimed", generation: jobOf(world).generation, runnerId, encoder: "libx264" });
      world.run.fireTimer("lease");
    }
    expect(world.run.status).toBe("failed");
    expect(jobOf(world).transcode.problem?.code).toBe("POISON_ASSET");
  });

  test("whose upload was lost is done again, the other renditions kept", () => {
    const world = reach("transcoding");
    while (world.commands.every(({ type }) => type !== "CompleteUpload")) world.flow();
    const at = world.commands.findIndex(({ type }) => type === "CompleteUpload");
    world.uploads.clear();
    world.take(at, "succeed");
    world.hear(world.facts.findIndex(({ type }) => type === "StepFailed"));
    expect(world.run.asset.renditions.some(({ state }) => state === "wanted")).toBe(true);
    world.settle();
    expect(world.run.status).toBe("distributed");
    expect(jobOf(world).generation).toBe(2);
  });

  test("cancelled half-way stops the runner, keeps what is archived, and goes on when retried", () => {
    const world = midEncode();
    expect(commandTypes(world.tell({ type: "CancelRequested" }))).toEqual(["EndLease", "AbortUpload"]);
    expect(world.run.status).toBe("cancelled");
    world.settle();
    expect(world.run.status).toBe("cancelled");
    expect(renditionOf(world.run.asset, "360p")?.state).toBe("archived");
    expect(jobOf(world).transcode.problem).toMatchObject({ code: "CANCELLED", retryable: false });
    expect(world.run.announcements.at(-1)).toBe("asset.cancelled");
    world.tell({ type: "RetryRequested" });
    expect(jobOf(world).transcode.problem).toBeNull();
    world.settle();
    expect(world.run.status).toBe("distributed");
    expect(renditionOf(world.run.asset, "360p")?.step.op).toBe(1);
  });

  test("cancelled when all is uploaded stays so, places nothing more, and needs no runner when retried", () => {
    const world = reach("transcoding");
    const isUploaded = () =>
      world.run.asset.renditions.every(({ state }) => state === "uploaded" || state === "archived");
    while (world.run.asset.renditions.length === 0 || !isUploaded()) world.flow();
    world.tell({ type: "CancelRequested" });
    const copies = () => world.run.asset.renditions.flatMap((rendition) => rendition.copies);
    const before = copies().length;
    world.settle();
    expect(world.run.status).toBe("cancelled");
    expect(world.run.asset.renditions.map(({ state }) => state)).toEqual(["archived", "archived", "archived"]);
    expect(copies()).toHaveLength(before);
    world.tell({ type: "RetryRequested" });
    expect(jobOf(world).state).toBe("encoded");
    world.settle();
    expect(world.run.status).toBe("distributed");
    expect(copies().length).toBeGreaterThan(before);
  });
});

describe("an archive that is lost", () => {
  const lose = (world: World, quality: "360p" | "720p") => {
    world.loseArchive(quality);
    const index = world.facts.length - 1;
    const fact = world.facts[index];
    if (fact === undefined) throw new Error("nothing was lost");
    world.facts.pop();
    return world.tell(fact);
  };

  test("comes back from R2 when it has a placed copy there", () => {
    const world = reach("distributed");
    const before = renditionOf(world.run.asset, "360p")?.sha256;
    expect(commandTypes(lose(world, "360p"))).toEqual(["RestoreArchive"]);
    expect(renditionOf(world.run.asset, "360p")?.state).toBe("missing");
    expect(world.run.status).toBe("distributed");
    world.settle();
    expect(world.wasabi.get(proxyKey(upload, "360p"))?.sha256).toEqual(before);
    expect(jobOf(world).generation).toBe(1);
  });

  test("without a copy on R2 is encoded again, and its other copies are made again", () => {
    const world = reach("distributed");
    const lost = lose(world, "720p");
    expect(commandTypes(lost)).toEqual([]);
    expect(world.run.status).toBe("archived");
    expect(commandTypes(world.fire(world.run.nextTimer() ?? fail()))).toEqual(["EnqueueTranscode"]);
    world.settle();
    expect(world.run.status).toBe("distributed");
    const rendition = renditionOf(world.run.asset, "720p");
    expect(rendition?.sha256).not.toEqual(content(3).sha256);
    expect([...world.editor.values()].map(({ sha256 }) => sha256)).toEqual([rendition?.sha256]);
  });

  test("whose R2 copy is damaged is encoded again under a new R2 key, and the old copy is removed", () => {
    const world = reach("distributed");
    const oldKey = `proxies/${jobOf(world).jobId}/360p.mp4`;
    for (const key of world.edge.keys()) world.edge.set(key, content(99));
    lose(world, "360p");
    world.settle();
    expect(world.run.status).toBe("distributed");
    expect(jobOf(world).generation).toBeGreaterThan(1);
    const { jobId, sha256 } = renditionOf(world.run.asset, "360p") ?? fail();
    expect(jobId).not.toBe(jobOf(world).jobId);
    expect(world.edge.get(`proxies/${jobId}/360p.mp4`)?.sha256).toEqual(sha256);
    expect(world.edge.has(oldKey)).toBe(false);
  });

  test("leaves no earlier key in R2, also when its removal failed and a retry makes the copy", () => {
    const world = reach("distributed");
    for (const key of world.edge.keys()) world.edge.set(key, content(99));
    lose(world, "360p");
    while (copyOf(world)?.state !== "removing")
      expect(world.flow() || world.fire(world.run.nextTimer() ?? fail())).toBeTruthy();
    const { op } = copyOf(world)?.step ?? fail();
    const step = { kind: "copy", tier: "r2", quality: "360p" } as const;
    world.tell({ type: "StepFailed", step, op, code: "WASABI_FORBIDDEN", message: "refused" });
    expect(copyOf(world)?.state).toBe("failed");
    expect(commandTypes(world.tell({ type: "RetryRequested" }))).toEqual(["RemoveEdgeCopy"]);
    // A pin keeps what is the asset's own, not what has a successor.
    world.projectPinned = true;
    world.settle();
    expect(world.run.status).toBe("distributed");
    expect([...world.edge.keys()].filter((key) => key.endsWith("/360p.mp4"))).toEqual([
      `proxies/${renditionOf(world.run.asset, "360p")?.jobId}/360p.mp4`,
    ]);
  });

  test("while its copy is being removed calls the removal off (Rule 2)", () => {
    const world = evicting();
    lose(world, "360p");
    const removal = world.run.fireTimer("r2:360p");
    expect(commandTypes(removal)).toEqual([]);
    expect(copyOf(world)).toMatchObject({ state: "placed", step: { problem: { code: "ETAG_MISMATCH" } } });
  });

  test("is no ground for removing a copy that turns up late (Rule 2)", () => {
    const world = reach("evicted");
    const { jobId } = jobOf(world);
    const { sizeBytes, sha256 } = renditionOf(world.run.asset, "360p") ?? fail();
    lose(world, "360p");
    if (jobId === null || sizeBytes === null || sha256 === null) throw new Error("nothing was archived");
    const late: AssetEvent = {
      type: "CopyPlaced",
      tier: "r2",
      quality: "360p",
      jobId,
      op: 1,
      etag: null,
      sizeBytes,
      sha256,
    };
    expect(commandTypes(world.run.apply(late))).toEqual([]);
    expect(copyOf(world)?.state).toBe("placed");
  });
});
