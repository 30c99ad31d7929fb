/**
 * Makes one decision and stores all of it, or nothing: the event's key, the new state and revision, the outbox rows, the
 * history line, the timers, the evidence. Synchronous, so that nothing can come between reading the state and writing it.
 */
import type { Asset, Progress } from "../schemas/asset.ts";
import type { StoredAsset } from "../schemas/asset-state.ts";
import type { Command } from "../schemas/command.ts";
import type { EventEnvelope } from "../schemas/event.ts";
import type { Policy } from "../schemas/policy.ts";
import { log } from "../workers/log.ts";
import type { AssetStore, Revision } from "./asset-store.ts";
import { evidenceChange } from "./evidence.ts";
import { historyDetail } from "./history-detail.ts";
import type { Context } from "./machine/rule.ts";
import { timersOf } from "./machine/timer.ts";
import { transfersOf } from "./machine/transfer.ts";
import { isQuiet, isRound, type Transition, transition } from "./machine/transition.ts";
import { viewAsset } from "./machine/view.ts";
import { operationOf } from "./operation.ts";

export interface Decision {
  verdict: Transition["verdict"] | "duplicate";
  errors: Transition["errors"];
  effects: Transition["effects"];
  /** This very event made the asset. */
  created: boolean;
  /** Nobody needs to be told. */
  quiet: boolean;
}

export interface DecisionPorts {
  store: AssetStore;
  /** All or nothing; may be nested. */
  transaction<Result>(work: () => Result): Result;
  policy(): Policy;
  progress(): Progress | null;
  stamp(): Context["stamp"];
}

const idsPerRevision = 1000;
/** Of each kind of retry; every other event of an asset's history is kept for ever. */
const retriesKept = 200;
const iso = (atMs: number) => new Date(atMs).toISOString();

/** @throws when nothing could be stored; the store then forgets what it had cached */
export function decide(envelope: EventEnvelope, ports: DecisionPorts): Decision {
  try {
    return ports.transaction(() => decideStored(envelope, ports));
  } catch (fault) {
    ports.store.forget();
    log({ event: "asset.apply-failed", type: envelope.event.type, key: envelope.key }, fault);
    throw fault;
  }
}

function decideStored(envelope: EventEnvelope, ports: DecisionPorts): Decision {
  const { key, by, event } = envelope;
  const { store } = ports;
  const before = store.load();
  const stamp = ports.stamp();
  if (before !== null && envelope.holder !== undefined) releaseOperation(envelope.holder, store, stamp.atMs);
  if (key !== null && store.isSeen(key)) {
    return { verdict: "duplicate", errors: [], effects: [], created: false, quiet: true };
  }
  const next = transition(before?.state ?? null, event, { stamp, policy: ports.policy() });
  if (next.verdict === "rejected") {
    log({ event: "asset.event-rejected", fileId: before?.state.fileId ?? null, type: event.type, by });
  }
  if (next.verdict === "applied") store.make();
  if (key !== null && next.verdict !== "unknown" && next.verdict !== "conflict") store.markSeen(key, stamp.atMs);
  const quiet = isQuiet(event) && next.effects.length === 0;
  if (next.verdict === "applied" && next.state !== null) {
    const present = { state: next.state, revision: (before?.revision ?? 0) + (quiet ? 0 : 1) };
    store.save(present);
    store.replaceTimers(timersOf(next.state));
    noteParts(event, next.state, store);
    const evidence = evidenceChange(envelope, next.state, stamp.atMs);
    if (evidence !== null) store.noteEvidence(evidence);
    const asset = viewAsset(present.state, present.revision, ports.policy(), ports.progress());
    enqueue(next.effects, present, asset, store, stamp.atMs);
    if (!quiet) recordHistory({ by, event, asset, store, atMs: stamp.atMs });
  }
  return { verdict: next.verdict, errors: next.errors, effects: next.effects, created: before === null, quiet };
}

/** The list of moved parts lies beside the state, which stays small whatever the object's size. */
function noteParts(event: EventEnvelope["event"], state: StoredAsset, { transfers }: AssetStore): void {
  if (event.type === "PartsMoved") transfers.recordMoved(event.uploadId, event.parts);
  const completes =
    event.type === "OriginalArchived" || event.type === "RenditionArchived" || event.type === "CopyPlaced";
  if (completes) transfers.pruneMoved(transfersOf(state).map(({ uploadId }) => uploadId));
}

/** Who has reported acts no longer: what waited for the key may go. */
function releaseOperation(holder: string, store: AssetStore, atMs: number): void {
  store.transfers.releaseHolds(holder);
  for (const opKey of store.releaseOpTokens(holder, atMs)) store.releaseOutbox(opKey, atMs);
}

function enqueue(
  effects: Transition["effects"],
  { state, revision }: Revision,
  asset: Asset,
  store: AssetStore,
  atMs: number,
): void {
  for (const [index, effect] of effects.entries()) {
    if (effect.type === "EndLease") continue;
    if (effect.type === "PublishCatalogue") store.dropUnsent("PublishCatalogue");
    if (effect.type === "AbortUpload" || effect.type === "AbortEdgeUpload") store.transfers.drop(effect.uploadId);
    const body = effect.type === "NotifyApp" ? { ...effect, timestamp: iso(atMs), asset } : effect;
    const row = { id: `${state.fileId}:${revision}:${index}`, type: effect.type, body: JSON.stringify(body) };
    store.enqueue({ ...row, ...operationColumns(effect) }, revision * idsPerRevision + index, atMs);
  }
}

/** A command that was sent before goes to the outbox again, behind all of its revision; one that still waits there stays. */
export function requeue(command: Command, { state, revision }: Revision, store: AssetStore, atMs: number): void {
  const { type, id, fileId: _, ...body } = command;
  const isCatalogue = type === "PublishCatalogue";
  if (isCatalogue) store.dropUnsent(type);
  const row = isCatalogue
    ? { id: `${state.fileId}:${revision}:again`, type, body: "{}" }
    : { id, type, body: JSON.stringify(body) };
  store.enqueue({ ...row, ...operationColumns(command) }, (revision + 1) * idsPerRevision - 1, atMs);
}

function operationColumns(command: Parameters<typeof operationOf>[0]) {
  const { key = null, op = null, verb = null } = operationOf(command) ?? {};
  return { opKey: key, op, verb };
}

function recordHistory(entry: {
  by: string;
  event: EventEnvelope["event"];
  asset: Asset;
  store: AssetStore;
  atMs: number;
}): void {
  const { fileId, revision, state } = entry.asset;
  const { type } = entry.event;
  const detail = historyDetail(entry.event);
  entry.store.appendHistory({ revision, at: iso(entry.atMs), event: type, by: entry.by, state, detail });
  if (isRound(entry.event)) entry.store.trimHistory(type, retriesKept);
  log({ event: "asset.changed", fileId, revision, type, by: entry.by, state, detail });
}
