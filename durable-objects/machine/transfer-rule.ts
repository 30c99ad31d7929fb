/**
 * What the three machines do alike with a transfer's facts: record it, and say which messages go out next. Each machine
 * makes its own command of them.
 */
import type { Step } from "../../schemas/asset-state.ts";
import type { EventOf } from "../../schemas/event.ts";
import type { TransferStage } from "../../schemas/transfer.ts";
import type { Context } from "./rule.ts";
import * as clock from "./step-clock.ts";
import { isWhole, nextStages, openTransfer, recordMoved } from "./transfer.ts";

const isOpenFor = (step: Step, { op }: { op: number }) => op === step.op && clock.isOpen(step);

/** @returns the first messages, or null for an upload that nobody needs: whoever opened it aborts it */
export function beginTransfer(step: Step, event: EventOf<"TransferOpened">, context: Context): TransferStage[] | null {
  if (!isOpenFor(step, event) || step.transfer !== null) return null;
  openTransfer(step, event.plan);
  return sendOn(step, context);
}

/** @returns the messages that follow, or null for parts that were not awaited */
export function advanceTransfer(step: Step, event: EventOf<"PartsMoved">, context: Context): TransferStage[] | null {
  const { transfer } = step;
  if (!isOpenFor(step, event) || transfer?.uploadId !== event.uploadId) return null;
  if (!recordMoved(transfer, event)) return null;
  // A backoff goes on: one part that got through does not tell that the trouble is over.
  if (step.phase === "waiting" && !isWhole(transfer)) return [];
  clock.recover(step);
  return sendOn(step, context);
}

function sendOn(step: Step, context: Context): TransferStage[] {
  const { policy } = context;
  const stages = step.transfer === null ? [] : nextStages(step.transfer, policy.transferWindow);
  if (stages.length > 0) clock.goOn(step, policy.queuedWatchdogMs, context);
  else clock.begin(step, policy.silentWatchdogMs, context);
  return stages;
}
