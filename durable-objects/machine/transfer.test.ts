/** How a transfer goes on: what is out, what is owed, what follows a trouble, and when its upload is given back. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadAssetState, type StoredCopy } from "../../schemas/asset-state.ts";
import type { CommandOf } from "../../schemas/command.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import type { TransferPlan, TransferStage } from "../../schemas/transfer.ts";
import { commandsIn } from "../../test/simulation/asset-run.ts";
import { reach } from "../../test/simulation/reach.ts";
import type { World } from "../../test/simulation/world.ts";
import type { Transition } from "./transition.ts";

const quality = "360p";
const step = { kind: "copy", tier: "r2", quality } as const;

function copyOf({ run }: World): StoredCopy {
  const rendition = run.asset.renditions.find((each) => each.quality === quality);
  const copy = rendition?.copies.find(({ tier }) => tier === "r2");
  if (copy === undefined) throw new Error("there is no copy");
  return copy;
}

const transferOf = (world: World) => {
  const { transfer } = copyOf(world).step;
  if (transfer === null) throw new Error("there is no transfer");
  return transfer;
};

/** A world whose 360p is on its way to R2, before anything was done for it. */
function placing(): World {
  const world = reach("distributing", 360);
  expect(copyOf(world).state).toBe("placing");
  return world;
}

function planFor(world: World, parts: number, over: Partial<TransferPlan> = {}): TransferPlan {
  const command = world.commands.find((each) => each.type === "PlaceEdgeCopy") as CommandOf<"PlaceEdgeCopy">;
  const cut = {
    uploadId: "u1",
    sizeBytes: parts,
    partSizeBytes: 1,
    parts,
    partsPerMessage: 4,
    pin: null,
    midstate: null,
  };
  return { tier: "r2", key: command.key, ...cut, ...over } as TransferPlan;
}

const opOf = (world: World) => copyOf(world).step.op;
const open = (world: World, plan: TransferPlan) =>
  world.run.apply({ type: "TransferOpened", step, op: opOf(world), plan });

function moved(world: World, parts: readonly number[], midstate: string | null = null): Transition {
  const list = parts.map((n) => ({ n, sizeBytes: 1, etag: `e${n}`, md5: null, sha256: null }));
  const uploadId = copyOf(world).step.transfer?.uploadId ?? "gone";
  return world.run.apply({ type: "PartsMoved", step, op: opOf(world), uploadId, parts: list, midstate });
}

function deferred(world: World, over: Partial<Extract<AssetEvent, { type: "StepDeferred" }>> = {}): Transition {
  const why = { code: "R2_UNAVAILABLE", message: "R2 does not answer.", retryAfterMs: null } as const;
  return world.run.apply({ type: "StepDeferred", step, op: opOf(world), ...why, ...over });
}

const stagesIn = (transition: Transition): TransferStage[] =>
  commandsIn(transition).flatMap((effect) => (effect.type === "PlaceEdgeCopy" ? [effect.stage] : []));
const partsIn = (transition: Transition) =>
  stagesIn(transition).map((stage) => (stage.type === "parts" ? stage.parts : stage.type));

const windowMessages = 6;

describe("while all is well", () => {
  test("as many messages are out as the window takes, each success brings the next, the last one the completion", () => {
    const world = placing();
    const first = partsIn(open(world, planFor(world, 30)));
    expect(first).toHaveLength(windowMessages);
    expect(first[0]).toEqual([1, 2, 3, 4]);
    expect(partsIn(moved(world, [1, 2, 3, 4]))).toEqual([[25, 26, 27, 28]]);
    expect(partsIn(moved(world, [5, 6]))).toEqual([]);
    expect(partsIn(moved(world, [7, 8]))).toEqual([[29, 30]]);
    for (let n = 9; n < 30; n++) expect(partsIn(moved(world, [n]))).toEqual([]);
    expect(stagesIn(moved(world, [30]))).toMatchObject([{ type: "complete", uploadId: "u1" }]);
  });

  test("the state stays small, however many parts there are", () => {
    const world = placing();
    open(world, planFor(world, 10_000));
    for (let n = 1; n <= 1_000; n++) moved(world, [n]);
    expect(JSON.stringify(copyOf(world).step).length).toBeLessThan(1_500);
    expect(transferOf(world).nextPart).toBe(1_000 + 4 * windowMessages + 1);
  });

  test("parts that must come in order go by one message at a time, and hand their midstate on", () => {
    const world = placing();
    const midstates = ["1", "2", "3"].map((digit) => digit.repeat(64));
    expect(partsIn(open(world, planFor(world, 6, { midstate: midstates[0] ?? null })))).toEqual([[1, 2, 3, 4]]);
    expect(stagesIn(moved(world, [1, 2], midstates[1]))).toEqual([]);
    expect(transferOf(world).midstate).toBe(midstates[1]);
    const next = stagesIn(moved(world, [3, 4], midstates[2]));
    expect(next).toMatchObject([{ type: "parts", parts: [5, 6], midstate: midstates[2] }]);
  });

  test("a part told twice, or never asked for, or of another upload changes nothing", () => {
    const world = placing();
    open(world, planFor(world, 30));
    moved(world, [1, 2, 3, 4]);
    expect(moved(world, [1, 2, 3, 4]).verdict).toBe("ignored");
    expect(moved(world, [30]).verdict).toBe("ignored");
    expect(open(world, planFor(world, 3, { uploadId: "u2" })).verdict).toBe("ignored");
    const other = { type: "PartsMoved", step, op: opOf(world), uploadId: "u2", midstate: null } as const;
    const parts = [{ n: 5, sizeBytes: 1, etag: "x", md5: null, sha256: null }];
    expect(world.run.apply({ ...other, parts }).verdict).toBe("ignored");
  });
});

describe("in trouble", () => {
  test("an outage costs one message a backoff step, and the first success opens the window again", () => {
    const world = placing();
    open(world, planFor(world, 40));
    for (let message = 0; message < windowMessages; message++) {
      const first = 4 * message + 1;
      deferred(world, { parts: [first, first + 1, first + 2, first + 3] });
    }
    expect(copyOf(world).step).toMatchObject({ phase: "waiting", failures: 0 });
    for (let round = 0; round < 5; round++) {
      expect(partsIn(world.run.fireTimer(`r2:${quality}`))).toEqual([[1, 2, 3, 4]]);
      deferred(world, { parts: [1, 2, 3, 4] });
    }
    world.run.fireTimer(`r2:${quality}`);
    expect(partsIn(moved(world, [1, 2, 3, 4]))).toHaveLength(windowMessages);
    expect(copyOf(world).step.problem).toBeNull();
  });

  test("what arrives during a backoff counts, and the backoff goes on", () => {
    const world = placing();
    open(world, planFor(world, 12));
    deferred(world, { parts: [1, 2, 3, 4] });
    const dueAtMs = copyOf(world).step.deadlineAtMs;
    expect(partsIn(moved(world, [5, 6, 7, 8]))).toEqual([]);
    world.run.apply({ type: "StepBegan", step, op: opOf(world) });
    expect(copyOf(world).step).toMatchObject({ phase: "waiting", deadlineAtMs: dueAtMs });
    moved(world, [9, 10, 11, 12]);
    expect(partsIn(world.run.fireTimer(`r2:${quality}`))).toEqual([[1, 2, 3, 4]]);
  });

  test("a part that fails again and again fails the copy, and the upload is given back", () => {
    const world = placing();
    open(world, planFor(world, 4));
    const about = { code: "CHECKSUM_MISMATCH" as const, parts: [3] };
    moved(world, [1, 2, 4]);
    let last = deferred(world, about);
    for (let attempt = 1; copyOf(world).state === "placing"; attempt++) {
      expect(attempt).toBeLessThan(world.run.policy.stepAttempts);
      expect(partsIn(world.run.fireTimer(`r2:${quality}`))).toEqual([[3]]);
      last = deferred(world, about);
    }
    expect(copyOf(world)).toMatchObject({ state: "failed", step: { transfer: null } });
    expect(commandsIn(last)).toMatchObject([{ type: "AbortEdgeUpload", uploadId: "u1" }]);
  });

  test("messages that were all lost are sent again, one first, and the rest once that one got through", () => {
    const world = placing();
    open(world, planFor(world, 12));
    expect(partsIn(world.run.fireTimer(`r2:${quality}`))).toEqual([[1, 2, 3, 4]]);
    expect(partsIn(moved(world, [1, 2, 3, 4]))).toEqual([
      [5, 6, 7, 8],
      [9, 10, 11, 12],
    ]);
  });

  test("an upload that is lost is aborted, and a new one begins", () => {
    const world = placing();
    open(world, planFor(world, 12));
    expect(commandsIn(deferred(world, { code: "UPLOAD_LOST", startOver: true }))).toMatchObject([
      { type: "AbortEdgeUpload", uploadId: "u1" },
    ]);
    expect(stagesIn(world.run.fireTimer(`r2:${quality}`))).toEqual([{ type: "open" }]);
    open(world, planFor(world, 1, { uploadId: "u2" }));
    moved(world, [1]);
    const { sizeBytes, sha256, jobId } = world.run.asset.renditions[0] ?? {};
    if (!sizeBytes || !sha256 || !jobId) throw new Error("there is no rendition");
    const fact = {
      type: "CopyPlaced",
      tier: "r2",
      quality,
      jobId,
      op: opOf(world),
      sizeBytes,
      etag: "e",
      sha256,
    } as const;
    const done = world.run.apply(fact);
    expect(commandsIn(done).filter(({ type }) => type === "AbortEdgeUpload")).toEqual([]);
    expect(copyOf(world)).toMatchObject({ state: "placed", step: { transfer: null } });
  });

  test("uploads that are lost again and again fail the copy, whatever got through in between", () => {
    const world = placing();
    const { stepAttempts } = world.run.policy;
    for (let attempt = 1; attempt <= stepAttempts; attempt++) {
      open(world, planFor(world, 12, { uploadId: `u${attempt}` }));
      moved(world, [1, 2, 3, 4]);
      deferred(world, { code: "UPLOAD_LOST", startOver: true });
      if (attempt < stepAttempts) world.run.fireTimer(`r2:${quality}`);
    }
    expect(copyOf(world)).toMatchObject({ state: "failed", step: { problem: { code: "UPLOAD_LOST" } } });
  });

  test("opening an upload is no success: what troubled the step before still counts", () => {
    const world = placing();
    deferred(world, { code: "CHECKSUM_MISMATCH" });
    world.run.fireTimer(`r2:${quality}`);
    open(world, planFor(world, 12));
    expect(copyOf(world).step.failures).toBe(1);
    moved(world, [1]);
    expect(copyOf(world).step.failures).toBe(0);
  });

  test.each(["RetryRequested", "ArchiveLost"] as const)("%s gives the upload back", (type) => {
    const world = placing();
    open(world, planFor(world, 12));
    const { jobId } = copyOf(world);
    const after = world.run.apply(type === "ArchiveLost" ? { type, quality, jobId, message: "gone" } : { type });
    const commands = commandsIn(type === "ArchiveLost" ? world.run.fireTimer(`r2:${quality}`) : after);
    expect(commands).toContainEqual(expect.objectContaining({ type: "AbortEdgeUpload", uploadId: "u1" }));
  });
});

test("any order of successes, repeats, losses and deferrals moves every part exactly once and ends whole", () => {
  const acts = fc.array(fc.record({ what: fc.constantFrom("move", "some", "again", "defer", "lose"), at: fc.nat() }), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), acts, (count, chosen) => {
      const world = placing();
      let messages = partsIn(open(world, planFor(world, count)));
      const arrived: number[] = [];
      const take = (transition: Transition) => messages.push(...partsIn(transition));
      const arrive = (parts: readonly number[]) => {
        const known = new Set(arrived);
        const result = moved(world, parts);
        if (result.verdict === "applied") arrived.push(...parts.filter((n) => !known.has(n)));
        take(result);
      };
      const deliver = (what: string, at: number) => {
        const [message] = messages.splice(at % (messages.length || 1), 1);
        if (message === undefined || message === "complete" || typeof message === "string") return;
        if (what === "move" || what === "again") arrive(message);
        if (what === "some") arrive(message.slice(0, 1));
        if (what === "again") expect(moved(world, message).verdict).toBe("ignored");
        if (what === "defer" && copyOf(world).step.phase !== "idle") deferred(world, { parts: message });
      };
      for (const { what, at } of chosen) deliver(what, at);
      for (let turn = 0; turn < 500 && !messages.includes("complete"); turn++) {
        if (messages.length > 0) deliver("move", 0);
        else take(world.run.fireTimer(`r2:${quality}`));
      }
      expect(messages).toContain("complete");
      expect(arrived.sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i + 1));
      messages = [];
    }),
    { numRuns: 200 },
  );
});

test("a document from before there were transfers loads, its steps without one", () => {
  const { asset } = placing().run;
  const before = JSON.stringify(asset, (key, value: unknown) => (key === "transfer" ? undefined : value));
  expect(before).not.toContain('transfer"');
  expect(loadAssetState(before)).toEqual(asset);
});
