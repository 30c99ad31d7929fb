/** Every step's allowed time and tries: what a lost message, a silent consumer and a used-up step lead to, and what a retry resumes. */
import { describe, expect, test } from "vitest";
import type { Asset } from "../../schemas/asset.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import { type StepRef, stepName } from "../../schemas/step.ts";
import { commandsIn } from "../../test/simulation/asset-run.ts";
import { reach } from "../../test/simulation/reach.ts";
import { World } from "../../test/simulation/world.ts";
import { stepOf } from "./authority.ts";
import { isOpen } from "./step-clock.ts";
import type { Transition } from "./transition.ts";
import { viewAsset } from "./view.ts";

const dayMs = 24 * 60 * 60_000;
const commandTypes = (transition: Transition) => commandsIn(transition).map(({ type }) => type);
const viewOf = ({ run }: World): Asset => viewAsset(run.asset, 1, run.policy, null);
const sentence = "The reason, in a sentence.";

/** Runs a healthy world until a command of this kind waits to be taken. */
function until(world: World, type: string): World {
  while (world.commands.every((command) => command.type !== type)) {
    if (!world.flow()) world.fire(world.run.nextTimer() ?? missing(type));
  }
  return world;
}

const missing = (what: string): never => {
  throw new Error(`there is no ${what}`);
};

function promoting(): World {
  const world = reach("evicted");
  world.tell({ type: "ProxyRequested", quality: "360p", jobId: world.run.asset.job.jobId ?? "" });
  return world;
}

function evicting(): World {
  const world = reach("distributed");
  world.run.advance(31 * dayMs);
  world.tell({ type: "RetentionElapsed", quality: "360p" });
  return world;
}

function restoring(): World {
  const world = reach("distributed");
  world.loseArchive("360p");
  world.hear(0);
  return world;
}

function editorRemoving(): World {
  const world = reach("distributed");
  world.tell({ type: "DeleteRequested" });
  world.run.advance(world.run.policy.deleteGraceMs);
  world.tell({ type: "GraceElapsed" });
  return world;
}

class UrlWorld extends World {
  constructor() {
    super(720);
    const source = { kind: "url", url: "https://origin.example.com/a.mov" } as const;
    this.run.state = { ...this.run.asset, upload: source };
    this.commands.length = 0;
    this.tell({ type: "RetryRequested" });
  }
}

interface Case {
  command: string;
  step: StepRef;
  open(): World;
}

const edge: StepRef = { kind: "copy", tier: "r2", quality: "360p" };
const editor: StepRef = { kind: "copy", tier: "lucidlink", quality: "720p" };
const complete: StepRef = { kind: "complete", quality: "360p" };

const cases: Case[] = [
  { command: "ArchiveOriginal", step: { kind: "archive" }, open: () => reach("received") },
  { command: "IngestOriginal", step: { kind: "archive" }, open: () => new UrlWorld() },
  { command: "CompleteUpload", step: complete, open: () => until(reach("transcoding"), "CompleteUpload") },
  { command: "RestoreArchive", step: complete, open: restoring },
  { command: "PlaceEdgeCopy", step: edge, open: promoting },
  { command: "RemoveEdgeCopy", step: edge, open: evicting },
  { command: "PlaceEditorCopy", step: editor, open: () => until(reach("distributing"), "PlaceEditorCopy") },
  { command: "RemoveEditorCopy", step: editor, open: editorRemoving },
];

const opOf = ({ run }: World, step: StepRef) => stepOf(run.asset, step)?.op ?? 0;
const isGoing = ({ run }: World, step: StepRef) => isOpen(stepOf(run.asset, step) ?? missing("step"));
const failed = (world: World, step: StepRef): AssetEvent => ({
  type: "StepFailed",
  step,
  op: opOf(world, step),
  code: "WASABI_FORBIDDEN",
  message: sentence,
});
const stumbled = (world: World, step: StepRef): AssetEvent => ({
  type: "StepDeferred",
  step,
  op: opOf(world, step),
  code: "CHECKSUM_MISMATCH",
  message: sentence,
  retryAfterMs: null,
});

describe("a lost message", () => {
  test.each(cases)(
    "$command is sent again, with ever more patience, under the same fencing number",
    ({ command, step, open }) => {
      const world = open();
      const op = opOf(world, step);
      const gaps: number[] = [];
      for (let loss = 0; loss < 10; loss += 1) {
        const beforeMs = world.run.nowMs;
        expect(commandTypes(world.run.fireTimer(stepName(step)))).toEqual([command]);
        gaps.push(world.run.nowMs - beforeMs);
      }
      const { queuedWatchdogMs, watchdogMaxMs } = world.run.policy;
      expect(gaps.slice(1, 4)).toEqual([2 * queuedWatchdogMs, 4 * queuedWatchdogMs, 8 * queuedWatchdogMs]);
      expect(gaps.at(-1)).toBe(watchdogMaxMs);
      expect(opOf(world, step)).toBe(op);
      expect(stepOf(world.run.asset, step)?.problem).toBeNull();
    },
  );

  test("of a job is announced again until a runner claims it", () => {
    const world = reach("archived");
    const { generation } = world.run.asset.job;
    for (let loss = 0; loss < 10; loss += 1) {
      expect(commandTypes(world.run.fireTimer("transcode"))).toEqual(["EnqueueTranscode"]);
    }
    expect(world.run.asset.job).toMatchObject({ state: "archived", generation, transcodeFailures: [] });
  });
});

/** Three ways to come to an end; each must lead to the same place. */
const ends: [name: string, use: (world: World, step: StepRef) => void, code: string][] = [
  ["failed for good", (world, step) => world.tell(failed(world, step)), "WASABI_FORBIDDEN"],
  [
    "failed as often as it may",
    (world, step) => {
      for (let attempt = 1; attempt <= world.run.policy.stepAttempts; attempt += 1) {
        expect(isGoing(world, step)).toBe(true);
        world.tell(stumbled(world, step));
        if (attempt < world.run.policy.stepAttempts) world.run.fireTimer(stepName(step));
      }
    },
    "CHECKSUM_MISMATCH",
  ],
  [
    "begun and fallen silent as often as it may",
    (world, step) => {
      for (let attempt = 1; attempt <= world.run.policy.stepAttempts; attempt += 1) {
        expect(isGoing(world, step)).toBe(true);
        world.tell({ type: "StepBegan", step, op: opOf(world, step) });
        world.tell(overdue(world, step));
      }
    },
    "STEP_OVERDUE",
  ],
];

/** The clock reaches the step's deadline, and nobody has given a sign. */
function overdue({ run }: World, step: StepRef): AssetEvent {
  run.nowMs = Math.max(run.nowMs, stepOf(run.asset, step)?.deadlineAtMs ?? 0);
  return { type: "StepOverdue", step, op: stepOf(run.asset, step)?.op ?? 0 };
}

const pairs = (commands: string[]) =>
  ends.flatMap(([end, use, code]) =>
    cases.filter(({ command }) => commands.includes(command)).map((each) => ({ ...each, end, use, code })),
  );

/** Not one who tells its end by itself: an agent may be silent for as long as it works. */
const spoken = (commands: string[]) => pairs(commands).filter(({ code }) => code !== "STEP_OVERDUE");

describe("a step that has come to its end", () => {
  test.each(pairs(["ArchiveOriginal", "IngestOriginal"]))(
    "$command, $end: the job fails, says why, and a retry resumes at the original",
    ({ command, step, open, use, code }) => {
      const world = open();
      use(world, step);
      expect(viewOf(world)).toMatchObject({
        state: "failed",
        problem: { step: "archive", code, message: expect.stringMatching(/^\S.*\.$/), nextAttemptAt: null },
      });
      expect(world.run.nextTimer()).toBeNull();
      expect(world.run.announcements).toEqual(["asset.failed"]);
      expect(commandTypes(world.tell({ type: "RetryRequested" }))).toEqual([command]);
      expect(viewOf(world)).toMatchObject({ state: "received", problem: null });
      world.settle();
      expect(viewOf(world)).toMatchObject({ state: "distributed", problem: null });
    },
  );

  test.each(pairs(["PlaceEdgeCopy"]))(
    "$command, $end: the copy fails, the asset stays playable, and a retry places it",
    ({ step, open, use, code }) => {
      const world = open();
      use(world, step);
      const { state, renditions } = viewOf(world);
      expect(state).toBe("distributing");
      expect(renditions[0]).toMatchObject({ status: "archived" });
      const copy = renditions[0]?.copies.find(({ tier }) => tier === "r2");
      expect(copy).toMatchObject({ status: "failed", problem: { step: "r2:360p", code } });
      expect(copy?.problem?.message).toMatch(/^\S.*\.$/);
      expect(world.run.announcements).not.toContain("asset.failed");
      const op = opOf(world, step);
      expect(commandTypes(world.tell({ type: "RetryRequested" }))).toEqual(["PlaceEdgeCopy"]);
      expect(opOf(world, step)).toBe(op + 1);
      world.settle();
      expect(viewOf(world)).toMatchObject({ state: "distributed", problem: null });
    },
  );

  test.each(spoken(["PlaceEditorCopy"]))(
    "$command, $end: the copy fails, the asset stays playable, and a retry places it",
    ({ step, open, use, code }) => {
      const world = open();
      use(world, step);
      const copy = viewOf(world)
        .renditions.at(-1)
        ?.copies.find(({ tier }) => tier === "lucidlink");
      expect(copy).toMatchObject({ status: "failed", problem: { step: "lucidlink:720p", code, message: sentence } });
      expect(commandTypes(world.tell({ type: "RetryRequested" }))).toContain("PlaceEditorCopy");
      world.settle();
      expect(viewOf(world)).toMatchObject({ state: "distributed", problem: null });
    },
  );

  test.each(pairs(["RemoveEdgeCopy"]))(
    "$command, $end: the copy is kept, with the reason, and goes at its next retention",
    ({ step, open, use, code }) => {
      const world = open();
      use(world, step);
      const copy = viewOf(world).renditions[0]?.copies.find(({ tier }) => tier === "r2");
      expect(copy).toMatchObject({ status: "placed", problem: { code } });
      expect(commandTypes(world.tell({ type: "RetentionElapsed", quality: "360p" }))).toEqual(["RemoveEdgeCopy"]);
      world.settle();
      expect(viewOf(world).renditions[0]?.copies.find(({ tier }) => tier === "r2")).toMatchObject({
        status: "evicted",
      });
    },
  );

  const forbidden = ({ command, code }: { command: string; code: string }) =>
    command === "CompleteUpload" && code === "WASABI_FORBIDDEN";

  test.each(pairs(["CompleteUpload"]).filter(forbidden))(
    "$command, $end: no encode would help, so the job fails with the reason, and a retry encodes it",
    ({ step, open, use, code }) => {
      const world = open();
      use(world, step);
      while (viewOf(world).state !== "failed" && world.flow());
      expect(viewOf(world)).toMatchObject({ state: "failed", problem: { code, message: sentence } });
      world.settle();
      expect(viewOf(world).state).toBe("failed");
      world.tell({ type: "RetryRequested" });
      world.settle();
      expect(viewOf(world)).toMatchObject({ state: "distributed", problem: null });
    },
  );

  const others = pairs(["CompleteUpload", "RestoreArchive"]).filter((each) => !forbidden(each));
  test.each(others)("$command, $end: encoded again, what is archived kept", ({ step, open, use, code }) => {
    const world = open();
    const kept = viewOf(world).renditions.filter(({ status }) => status === "archived");
    const uploads = [...world.uploads.keys()];
    use(world, step);
    const view = viewOf(world);
    expect(view.renditions[0]).toMatchObject({ quality: "360p", status: expect.stringMatching(/wanted|encoding/) });
    expect(view.renditions[0]?.copies[0]?.problem).toMatchObject({ step: "complete:360p", code });
    for (const rendition of kept) expect(view.renditions).toContainEqual(expect.objectContaining(rendition));
    // The upload that could not be completed is given back.
    if (uploads.length > 0) expect(world.uploads.size).toBeLessThan(uploads.length);
    world.settle();
    expect(viewOf(world)).toMatchObject({ state: "distributed", problem: null });
  });
});

describe("renditions that can never be completed", () => {
  test("fail the job after the policy's tries; a retry resumes at the encode and keeps what is archived", () => {
    const world = reach("archived");
    for (let turn = 0; viewOf(world).state !== "failed"; turn += 1) {
      expect(turn).toBeLessThan(200);
      const at = world.commands.findIndex((command) => command.type === "CompleteUpload" && command.quality === "720p");
      const command = world.commands[at];
      if (command?.type === "CompleteUpload") {
        world.commands.splice(at, 1);
        const step: StepRef = { kind: "complete", quality: "720p" };
        world.tell({ type: "StepFailed", step, op: command.op, code: "UPLOAD_LOST", message: sentence });
      } else if (!world.flow()) world.fire(world.run.nextTimer() ?? missing("timer"));
    }
    const asset = viewOf(world);
    expect(asset.problem).toMatchObject({ code: "UPLOAD_LOST", message: sentence });
    expect(asset.renditions.map(({ status }) => status)).toEqual(["archived", "archived", "failed"]);
    expect(world.uploads.size).toBe(0);
    const verified = asset.renditions.map(({ copies }) => copies[0]?.verifiedAt);

    expect(commandTypes(world.tell({ type: "RetryRequested" }))).toContain("EnqueueTranscode");
    expect(viewOf(world)).toMatchObject({ state: "archived", problem: { step: "complete:720p" } });
    world.settle();
    const after = viewOf(world);
    expect(after).toMatchObject({ state: "distributed", problem: null });
    expect(after.renditions.slice(0, 2).map(({ copies }) => copies[0]?.verifiedAt)).toEqual(verified.slice(0, 2));
  });
});
