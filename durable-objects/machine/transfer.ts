/**
 * A transfer's progress: which parts are moved, which are out in messages, which are owed. Whatever part is told of, twice
 * or late, counts once; the last one lets the upload be completed. Pure, and bounded whatever the object's size.
 */
import type { Step, StoredAsset } from "../../schemas/asset-state.ts";
import type { AssetEvent, EventOf } from "../../schemas/event.ts";
import type { Transfer, TransferPlan, TransferStage } from "../../schemas/transfer.ts";
import type { Effect } from "./effect.ts";

export function openTransfer(step: Step, plan: TransferPlan): void {
  step.transfer = { ...plan, nextPart: 1, moving: [] };
}

export function isWhole({ nextPart, parts, moving }: Transfer): boolean {
  return nextPart > parts && moving.length === 0;
}

/** What to send after a trouble: one message, to see whether it is over. */
export function probingStages(step: Step): TransferStage[] {
  return step.transfer === null ? [{ type: "open" }] : takeStages(step.transfer, 1);
}

/** What to send while all is well: as much as the window takes. Parts that must come in order go one by one. */
export function nextStages(transfer: Transfer, windowMessages: number): TransferStage[] {
  const window = transfer.midstate === null ? windowMessages : 1;
  return takeStages(transfer, window - transfer.moving.filter(({ sent }) => sent).length);
}

function takeStages(transfer: Transfer, mostMessages: number): TransferStage[] {
  const { uploadId, partSizeBytes, pin, midstate } = transfer;
  const about = { uploadId, partSizeBytes, pin, midstate };
  if (isWhole(transfer)) return [{ type: "complete", ...about }];
  const stages: TransferStage[] = [];
  while (stages.length < mostMessages) {
    const parts = takeParts(transfer);
    if (parts === null) break;
    stages.push({ type: "parts", ...about, parts });
  }
  return stages;
}

/** Owed parts go before those that were never out. */
function takeParts(transfer: Transfer): number[] | null {
  const owed = transfer.moving.find(({ sent }) => !sent);
  if (owed !== undefined) {
    owed.sent = true;
    return owed.parts;
  }
  // In order means: none before the last one has been told of.
  const first = transfer.nextPart;
  if (first > transfer.parts || (transfer.midstate !== null && transfer.moving.length > 0)) return null;
  const count = Math.min(transfer.partsPerMessage, transfer.parts - first + 1);
  const parts = Array.from({ length: count }, (_, index) => first + index);
  transfer.nextPart += count;
  transfer.moving.push({ parts, sent: true });
  return parts;
}

/** Which of these parts are still awaited. */
export function awaitedParts({ moving }: Transfer, parts: readonly number[]): number[] {
  const out = new Set(moving.flatMap((message) => message.parts));
  return parts.filter((n) => out.has(n));
}

/** @returns false when none of these parts was awaited */
export function recordMoved(transfer: Transfer, { parts, midstate }: EventOf<"PartsMoved">): boolean {
  const moved = new Set(parts.map(({ n }) => n));
  if (awaitedParts(transfer, [...moved]).length === 0) return false;
  transfer.moving = transfer.moving
    .map((message) => ({ ...message, parts: message.parts.filter((n) => !moved.has(n)) }))
    .filter((message) => message.parts.length > 0);
  transfer.midstate = transfer.midstate === null ? null : midstate;
  return true;
}

/** Nobody gives a sign: every message that is out counts as lost. */
export function oweAll({ transfer }: Step): void {
  for (const message of transfer?.moving ?? []) message.sent = false;
}

/** After a deferral: the message's parts are to be sent again, or all of them in a new upload. */
export function oweDeferred(
  step: Step,
  { parts = [], startOver = false }: { parts?: number[] | undefined; startOver?: boolean | undefined },
): void {
  if (startOver) step.transfer = null;
  for (const message of step.transfer?.moving ?? []) {
    if (message.parts.some((n) => parts.includes(n))) message.sent = false;
  }
}

export function transfersOf({ job, renditions }: StoredAsset): Transfer[] {
  const steps = [job.archive, ...renditions.map(({ step }) => step)];
  for (const { copies } of renditions) steps.push(...copies.map(({ step }) => step));
  return steps.flatMap(({ transfer }) => transfer ?? []);
}

/**
 * Every upload that the state no longer names is aborted, whatever the reason, unless this very fact tells that it has
 * been completed. Derived from the two states, so that no rule can forget it.
 */
export function abortsOf(before: StoredAsset | null, after: StoredAsset, event: AssetEvent): Effect[] {
  const kept = new Set(transfersOf(after).map(({ uploadId }) => uploadId));
  const left = before === null ? [] : transfersOf(before).filter(({ uploadId }) => !kept.has(uploadId));
  return left.filter((transfer) => !isCompletedBy(event, transfer)).map(abortOf);
}

function isCompletedBy(event: AssetEvent, transfer: Transfer): boolean {
  if (!isWhole(transfer)) return false;
  switch (event.type) {
    case "OriginalArchived":
    case "RenditionArchived":
      return transfer.tier === "wasabi";
    case "CopyPlaced":
      return transfer.tier === event.tier;
    default:
      return false;
  }
}

function abortOf(transfer: Transfer): Effect {
  const { uploadId } = transfer;
  return transfer.tier === "r2"
    ? { type: "AbortEdgeUpload", key: transfer.key, uploadId }
    : { type: "AbortUpload", key: transfer.key, uploadId };
}
