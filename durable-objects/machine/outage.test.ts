/** Outages and the tries of a step, by the one table: what a day without a store costs, and that nobody has to fix it. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AssetEvent } from "../../schemas/event.ts";
import { FailureCode } from "../../schemas/failure.ts";
import { failurePolicy, longestRetryAfterMs, longOutageMs } from "../../schemas/failure-policy.ts";
import { Policy } from "../../schemas/policy.ts";
import { type StepRef, stepName } from "../../schemas/step.ts";
import { commandsIn } from "../../test/simulation/asset-run.ts";
import { reach } from "../../test/simulation/reach.ts";
import type { World } from "../../test/simulation/world.ts";
import { stepOf } from "./authority.ts";
import { defer, idleStep, intend } from "./step-clock.ts";
import type { Transition } from "./transition.ts";

const dayMs = 24 * 60 * 60_000;
const policy = Policy.parse({});
const stampAt = (atMs: number, jitter = 0.5) => ({ atMs, newId: "0".repeat(24), token: "t".repeat(32), jitter });

/** A copy on R2 asked for and not taken by anybody yet. */
function promoting(): World {
  const world = reach("evicted");
  world.tell({ type: "ProxyRequested", quality: "360p", jobId: world.run.asset.job.jobId ?? "" });
  return world;
}

function completing(): World {
  const world = reach("transcoding");
  while (world.commands.every(({ type }) => type !== "CompleteUpload")) world.flow();
  return world;
}

const waiting: [name: string, step: StepRef, code: FailureCode, maxMs: number, world: () => World][] = [
  ["the original", { kind: "archive" }, "WASABI_UNAVAILABLE", policy.backoff.maxMs, () => reach("received")],
  ["the original, and D1", { kind: "archive" }, "UNAVAILABLE", policy.backoff.maxMs, () => reach("received")],
  ["a rendition", { kind: "complete", quality: "360p" }, "WASABI_UNAVAILABLE", policy.backoff.maxMs, completing],
  ["a copy on R2", { kind: "copy", tier: "r2", quality: "360p" }, "R2_UNAVAILABLE", policy.backoff.maxMs, promoting],
  [
    "a copy in LucidLink",
    { kind: "copy", tier: "lucidlink", quality: "720p" },
    "LUCIDLINK_UNAVAILABLE",
    policy.agentBackoff.maxMs,
    () => reach("distributing"),
  ],
];

describe("an outage of a day", () => {
  test.each(waiting)(
    "while %s waits costs one command a backoff step, and heals by itself",
    (_name, ref, code, maxMs, open) => {
      const world = open();
      const step = () => stepOf(world.run.asset, ref) ?? idleStep();
      const { op } = step();
      const status = world.run.status;
      const startedMs = world.run.nowMs;
      let commands = 0;
      let deferrals = 0;
      // Half a minute is LucidLink's longest backoff: an hour shows it a hundred times over.
      const lastsMs = maxMs < 60_000 ? dayMs / 24 : dayMs;
      while (world.run.nowMs - startedMs < lastsMs) {
        // Whoever takes the command begins, and finds the store away.
        world.run.apply({ type: "StepBegan", step: ref, op });
        const away: AssetEvent = { type: "StepDeferred", step: ref, op, code, message: "away", retryAfterMs: null };
        world.run.apply(away);
        deferrals += 1;
        expect(step()).toMatchObject({ op, phase: "waiting", failures: 0, problem: { code, sinceAtMs: startedMs } });
        commands += commandsIn(world.run.fireTimer(stepName(ref))).length;
      }
      expect(commands).toBe(deferrals);
      // The first dozen steps are shorter; every later one is the longest, at worst 20 % early.
      expect(commands).toBeLessThanOrEqual(12 + Math.ceil(lastsMs / (0.8 * maxMs)));
      expect(world.run.status).toBe(status);
      world.settle();
      expect(world.run.status).toBe("distributed");
      expect(world.run.announcements).not.toContain("asset.failed");
    },
  );

  test("is told to the catalogue when it begins, once more when it has become a long one, and when it is over", () => {
    const world = reach("received");
    const step = { kind: "archive" } as const;
    const { op } = world.run.asset.job.archive;
    const away: AssetEvent = {
      type: "StepDeferred",
      step,
      op,
      code: "WASABI_UNAVAILABLE",
      message: "away",
      retryAfterMs: null,
    };
    const publishedAfterMs: number[] = [];
    const startedMs = world.run.nowMs;
    const listen = ({ effects }: Transition) => {
      if (effects.some(({ type }) => type === "PublishCatalogue")) publishedAfterMs.push(world.run.nowMs - startedMs);
    };
    while (world.run.nowMs - startedMs < dayMs) {
      listen(world.run.apply(away));
      listen(world.run.fireTimer("archive"));
    }
    expect(publishedAfterMs[0]).toBe(0);
    expect(publishedAfterMs).toHaveLength(2);
    expect(publishedAfterMs[1]).toBeGreaterThanOrEqual(longOutageMs);
    expect(publishedAfterMs[1]).toBeLessThanOrEqual(longOutageMs + 1.2 * policy.backoff.maxMs);
  });

  test("of Wasabi while runners encode uses up none of the asset's tries", () => {
    const world = reach("archived");
    const startedMs = world.run.nowMs;
    let attempts = 0;
    while (world.run.nowMs - startedMs < dayMs) {
      const { generation } = world.run.asset.job;
      world.tell({ type: "TranscodeClaimed", generation, runnerId: `runner-${attempts % 4}`, encoder: "libx264" });
      const lease = world.run.asset.job.lease?.token ?? "";
      const message = "Wasabi stopped answering.";
      world.tell({ type: "TranscodeFailed", lease, code: "WASABI_UNAVAILABLE", message, retryable: true });
      expect(world.run.status).toBe("archived");
      world.run.fireTimer("transcode");
      attempts += 1;
    }
    expect(attempts).toBeLessThanOrEqual(12 + Math.ceil(dayMs / (0.8 * policy.backoff.maxMs)));
    world.tell({ type: "RetryRequested" });
    world.settle();
    expect(world.run.status).toBe("distributed");
  });
});

describe("a step that is deferred", () => {
  const context = (atMs: number, jitter?: number) => ({ stamp: stampAt(atMs, jitter), policy });

  test.each(FailureCode.options)("with %s uses up a try unless the table calls it an outage", (code) => {
    const step = idleStep();
    intend(step, policy.queuedWatchdogMs, context(0));
    const goesOn: boolean[] = [];
    for (let turn = 0; turn < policy.stepAttempts; turn += 1) {
      goesOn.push(defer(step, { code, message: "no", retryAfterMs: null }, policy.backoff, context(0)));
    }
    const outage = failurePolicy[code as keyof typeof failurePolicy] === "outage";
    expect(goesOn.at(-1)).toBe(outage);
    expect(goesOn.slice(0, -1)).not.toContain(false);
    expect(step.phase).toBe(outage ? "waiting" : "idle");
  });

  test("waits its backoff ± 20 %, never less than it was told to, never more than an hour and a fifth", () => {
    const told = fc.oneof(fc.constant(null), fc.integer({ min: 0, max: 10 * dayMs }));
    const jitters = fc.double({ min: 0, max: 0.999_999, noNaN: true });
    fc.assert(
      fc.property(told, jitters, fc.integer({ min: 1, max: 60 }), (retryAfterMs, jitter, turns) => {
        const step = idleStep();
        intend(step, policy.queuedWatchdogMs, context(0));
        const deferral = { code: "WASABI_UNAVAILABLE", message: "no", retryAfterMs } as const;
        for (let turn = 0; turn < turns; turn += 1) defer(step, deferral, policy.backoff, context(0, jitter));
        const waitMs = step.deadlineAtMs ?? 0;
        const ownMs = Math.min(policy.backoff.maxMs, policy.backoff.baseMs * 2 ** (turns - 1));
        const askedMs = Math.min(retryAfterMs ?? 0, longestRetryAfterMs);
        expect(waitMs).toBeGreaterThanOrEqual(Math.max(Math.floor(0.8 * ownMs), askedMs));
        expect(waitMs).toBeLessThanOrEqual(Math.ceil(1.2 * Math.max(ownMs, askedMs)));
        expect(Number.isInteger(waitMs)).toBe(true);
      }),
    );
  });
});
