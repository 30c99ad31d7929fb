/** What holds after every transition whatsoever. Each check throws an Error that names what is broken. */
import { isDeepStrictEqual } from "node:util";
import { assetStatus } from "../../durable-objects/machine/asset-status.ts";
import { renditionOf } from "../../durable-objects/machine/authority.ts";
import type { Effect, StorageEffect } from "../../durable-objects/machine/effect.ts";
import type { Context } from "../../durable-objects/machine/rule.ts";
import { timersOf } from "../../durable-objects/machine/timer.ts";
import { type Transition, transition } from "../../durable-objects/machine/transition.ts";
import { type Step, StoredAsset } from "../../schemas/asset-state.ts";
import { Command } from "../../schemas/command.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import { EdgeKey, EditorKey } from "../../schemas/key.ts";
import { isAtRest, stepsOf } from "./at-rest.ts";

function hold(condition: boolean, broken: string): asserts condition {
  if (!condition) throw new Error(`broken: ${broken}`);
}

export function deepFrozen<Value>(value: Value): Value {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) deepFrozen(part);
  }
  return value;
}

/** The input is frozen, so that a write throws; the same input must give the same answer. */
export function checkPurity(
  before: StoredAsset | null,
  event: AssetEvent,
  context: Context,
  expected: Transition,
): void {
  hold(isDeepStrictEqual(transition(before, event, context), expected), "same input, same output");
}

export function checkTransition(before: StoredAsset | null, event: AssetEvent, after: Transition): void {
  const { state, effects, verdict } = after;
  if (verdict !== "applied") {
    hold(state === before, `${event.type} was ${verdict}, yet the state changed`);
    hold(effects.length === 0, `${event.type} was ${verdict}, yet it has effects`);
    return;
  }
  hold(state !== null, "an applied event leaves a state");
  const parsed = StoredAsset.safeParse(state);
  hold(parsed.success, `StoredAsset accepts the state: ${parsed.error?.message}`);
  hold(isDeepStrictEqual(parsed.data, state), "nothing is lost by storing the state");
  if (before !== null) checkMonotonic(before, state);
  checkLease(before, event, state);
  for (const [name, step] of stepsOf(state)) checkStep(name, step);
  checkDeleted(state);
  for (const effect of effects) checkEffect(state, effect);
  hold(
    isAtRest(state) || timersOf(state).length > 0,
    `${assetStatus(state)} waits for something that no timer watches`,
  );
}

function checkMonotonic(before: StoredAsset, after: StoredAsset): void {
  hold(after.job.generation >= before.job.generation, "the generation never goes down");
  const steps = new Map(stepsOf(after));
  for (const [name, step] of stepsOf(before)) {
    hold((steps.get(name)?.op ?? 0) >= step.op, `the op of ${name} never goes down`);
  }
}

function checkLease(before: StoredAsset | null, event: AssetEvent, { job, renditions }: StoredAsset): void {
  if (job.lease !== null) {
    hold(job.state === "transcoding", `a lease is held only while transcoding, not in ${job.state}`);
    const held = before?.job.lease ?? null;
    if (held === null) hold(event.type === "TranscodeClaimed", "only a claim makes a lease");
    else hold(held.token === job.lease.token, "a held lease is never handed to another");
  } else {
    hold(!renditions.some(({ state }) => state === "encoding"), "nothing is encoded without a lease");
  }
}

function checkStep(name: string, step: Step): void {
  hold((step.phase === "idle") === (step.deadlineAtMs === null), `${name} is ${step.phase} with its deadline`);
  hold(step.phase !== "waiting" || step.problem !== null, `${name} waits without a reason`);
}

function checkDeleted({ job, renditions }: StoredAsset): void {
  if (job.state !== "deleted") return;
  for (const { state, tier, wantedAgain } of renditions.flatMap(({ copies }) => copies)) {
    hold(state === "removing" || state === "evicted" || state === "failed", `a deleted asset has ${state} on ${tier}`);
    hold(!wantedAgain, `a deleted asset wants its copy on ${tier} again`);
  }
}

const namesOriginal = (value: unknown): boolean =>
  typeof value === "string"
    ? value.startsWith("originals/")
    : typeof value === "object" && value !== null && Object.values(value).some(namesOriginal);

const isCommand = (effect: Effect): effect is StorageEffect =>
  effect.type !== "PublishCatalogue" && effect.type !== "NotifyApp" && effect.type !== "EndLease";

function checkEffect(asset: StoredAsset, effect: Effect): void {
  if (!isCommand(effect)) return;
  const command = Command.safeParse({ id: `${asset.fileId}:1:0`, fileId: asset.fileId, ...effect });
  hold(command.success, `${effect.type} is a command: ${command.error?.message}`);
  const isEdge = effect.type.includes("Edge");
  if (!isEdge && !effect.type.includes("Editor")) return;
  hold(!namesOriginal(effect), `${effect.type} names an original (Rule 1)`);
  if ("key" in effect) {
    const Key = isEdge ? EdgeKey : EditorKey;
    hold(Key.safeParse(effect.key).success, `${effect.type} names a key of its own tier (Rule 1)`);
  }
  if ("source" in effect) {
    hold(isArchive(asset, effect.quality, effect.source), `${effect.type} has a verified archive (Rule 2)`);
  }
  if (effect.type === "RemoveEdgeCopy" && asset.job.state !== "deleted") {
    hold(effect.archive !== null, "RemoveEdgeCopy carries its archive unless the asset is deleted (Rule 2)");
    hold(isArchive(asset, effect.quality, effect.archive), "RemoveEdgeCopy names the verified archive (Rule 2)");
  }
}

/** Rule 2: placed only from a verified Wasabi object, removed from R2 only while there is one. */
function isArchive(
  asset: StoredAsset,
  quality: string,
  source: { etag: string; sizeBytes: number; sha256: unknown },
): boolean {
  const rendition = renditionOf(asset, quality);
  return (
    rendition?.state === "archived" &&
    rendition.verifiedAtMs !== null &&
    rendition.etag === source.etag &&
    rendition.sizeBytes === source.sizeBytes &&
    isDeepStrictEqual(rendition.sha256, source.sha256)
  );
}

/** Operators' wishes mean something each time; a deferral counts. The envelope's key tells repeats of these apart. */
const countsEachTime: ReadonlySet<AssetEvent["type"]> = new Set(["RetryRequested", "StepDeferred"]);

/** The same fact once more changes nothing but deadlines and times. */
export function checkIdempotence(event: AssetEvent, first: Transition, context: Context): void {
  if (first.verdict !== "applied" || countsEachTime.has(event.type)) return;
  const second = transition(deepFrozen(first.state), event, context);
  hold(
    second.effects.every(({ type }) => type === "PublishCatalogue"),
    `${event.type} once more has effects: ${second.effects.map(({ type }) => type).join(", ")}`,
  );
  hold(isDeepStrictEqual(timeless(second.state), timeless(first.state)), `${event.type} once more changes the state`);
}

const times: ReadonlySet<string> = new Set(["updatedAtMs", "deadlineAtMs", "expiresAtMs", "lastAccessAtMs"]);

function timeless(state: StoredAsset | null): unknown {
  return JSON.parse(JSON.stringify(state, (key, value: unknown) => (times.has(key) ? undefined : value)));
}
