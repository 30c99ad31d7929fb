/** Faults of the original, one at a time: what is waited for, what is given up, what revives it. */
import { describe, expect, test } from "vitest";
import type { AssetEvent } from "../../schemas/event.ts";
import type { FailureCode } from "../../schemas/failure.ts";
import { originalKey } from "../../schemas/key.ts";
import { commandsIn } from "../../test/simulation/asset-run.ts";
import { upload } from "../../test/simulation/asset-sample.ts";
import { reach } from "../../test/simulation/reach.ts";
import type { World } from "../../test/simulation/world.ts";
import type { Transition } from "./transition.ts";

const commandTypes = (transition: Transition) => commandsIn(transition).map(({ type }) => type);
const jobOf = ({ run }: World) => run.asset.job;

const archiveStep = { kind: "archive" } as const;
const deferred = (world: World, code: FailureCode): AssetEvent => ({
  type: "StepDeferred",
  step: archiveStep,
  op: jobOf(world).archive.op,
  code,
  message: "no",
  retryAfterMs: null,
});

describe("the original", () => {
  test("that stays missing fails after its grace, and a repeated webhook revives it", () => {
    const world = reach("received");
    world.run.apply(deferred(world, "ORIGINAL_MISSING"));
    const startedMs = world.run.nowMs;
    while (world.run.status === "received") {
      expect(world.run.nowMs - startedMs).toBeLessThan(world.run.policy.originalGraceMs);
      expect(commandTypes(world.run.fireTimer())).toEqual(["ArchiveOriginal"]);
      world.run.apply(deferred(world, "ORIGINAL_MISSING"));
    }
    expect(world.run.status).toBe("failed");
    expect(world.run.nowMs - startedMs).toBeLessThanOrEqual(120_000);
    expect(jobOf(world).archive.problem?.code).toBe("ORIGINAL_MISSING");
    expect(world.run.announcements).toEqual(["asset.failed"]);
    expect(world.run.nextTimer()).toBeNull();

    expect(commandTypes(world.tell({ type: "UploadNoticed", upload }))).toEqual(["ArchiveOriginal"]);
    expect(world.run.status).toBe("received");
    world.settle();
    expect(world.run.status).toBe("distributed");
  });

  test("that was awaited is looked for at once when the webhook comes again", () => {
    const world = reach("received");
    world.run.apply(deferred(world, "ORIGINAL_MISSING"));
    expect(commandTypes(world.run.apply({ type: "UploadNoticed", upload }))).toEqual(["ArchiveOriginal"]);
    expect(jobOf(world).archive).toMatchObject({ op: 2, phase: "queued", problem: null });
  });

  test("that was complete before a cancel reached its consumer is recorded, and nobody is offered the job", () => {
    const world = reach("received");
    world.run.apply({ type: "CancelRequested" });
    expect([world.run.status, jobOf(world).archive.problem?.code]).toEqual(["cancelled", "CANCELLED"]);
    expect(world.run.nextTimer()).toBeNull();
    const { sizeBytes } = upload;
    const about = { key: originalKey(upload), sizeBytes, etag: "e".repeat(32), sha256: null };
    const fact: AssetEvent = { type: "OriginalArchived", op: jobOf(world).archive.op, ...about };
    expect(world.run.apply({ ...fact, op: 2 }).verdict).toBe("ignored");
    expect(commandTypes(world.run.apply(fact))).toEqual([]);
    expect(world.run.asset.original).toMatchObject(about);
    expect([jobOf(world).archive.problem, jobOf(world).transcode.problem?.code]).toEqual([null, "CANCELLED"]);
    expect(world.run.announcements).toEqual(["asset.cancelled", "asset.archived"]);
    expect(commandTypes(world.tell({ type: "RetryRequested" }))).toEqual(["EnqueueTranscode"]);
  });

  test("of another size fails at once", () => {
    const world = reach("received");
    world.run.apply({ type: "StepFailed", step: archiveStep, op: 1, code: "SIZE_MISMATCH", message: "7, not 8" });
    expect(world.run.status).toBe("failed");
  });

  test("behind an outage waits for as long as it lasts, with ever longer backoff up to its cap", () => {
    const world = reach("received");
    const waits: number[] = [];
    for (let attempt = 0; attempt < 40; attempt += 1) {
      world.run.apply(deferred(world, "WASABI_UNAVAILABLE"));
      waits.push((world.run.nextTimer()?.atMs ?? 0) - world.run.nowMs);
      world.run.fireTimer();
    }
    const { baseMs, maxMs } = world.run.policy.backoff;
    expect(world.run.status).toBe("received");
    expect(waits[0]).toBeGreaterThanOrEqual(0.8 * baseMs);
    expect(waits[0]).toBeLessThanOrEqual(1.2 * baseMs);
    for (const wait of waits) expect(wait).toBeLessThanOrEqual(1.2 * maxMs);
    expect(waits.at(-1)).toBeGreaterThanOrEqual(0.8 * maxMs);
    world.settle();
    expect(world.run.status).toBe("distributed");
  });

  test("that fails for another reason is given up after the policy's tries", () => {
    const world = reach("received");
    const { stepAttempts } = world.run.policy;
    for (let attempt = 1; attempt < stepAttempts; attempt += 1) {
      world.run.apply(deferred(world, "CHECKSUM_MISMATCH"));
      expect(world.run.status).toBe("received");
      world.run.fireTimer();
    }
    world.run.apply(deferred(world, "CHECKSUM_MISMATCH"));
    expect(world.run.status).toBe("failed");
  });

  test("whose command vanished is asked for again, less and less often", () => {
    const world = reach("received");
    const gaps: number[] = [];
    for (let turn = 0; turn < 12; turn += 1) {
      const beforeMs = world.run.nowMs;
      expect(commandTypes(world.run.fireTimer("archive"))).toEqual(["ArchiveOriginal"]);
      gaps.push(world.run.nowMs - beforeMs);
    }
    const { queuedWatchdogMs, watchdogMaxMs } = world.run.policy;
    expect(gaps.slice(0, 3)).toEqual([queuedWatchdogMs, 2 * queuedWatchdogMs, 4 * queuedWatchdogMs]);
    expect(gaps.at(-1)).toBe(watchdogMaxMs);
    expect(jobOf(world).archive.op).toBe(1);
  });
});
