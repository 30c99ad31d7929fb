/** What consumers ask of the object about a transfer: to record the upload they opened, and to move some of its parts. */
import type { Step } from "../schemas/asset-state.ts";
import type { EventEnvelope } from "../schemas/event.ts";
import type { StepRef } from "../schemas/step.ts";
import type { TransferPlan } from "../schemas/transfer.ts";
import type { OpenAnswer, PartsAnswer, PartsHold } from "./asset-door.ts";
import { awaitedParts } from "./machine/transfer.ts";
import type { TransferStore } from "./transfer-store.ts";

export interface TransferPorts {
  store: TransferStore;
  /** The step as it stands now; null when this op is not its present intent. */
  step(): Step | null;
  commit(envelope: EventEnvelope): void;
  nowMs(): number;
  holdMs: number;
}

const by = "consumer";
const unwanted = "The command is no longer wanted.";

export function openTransfer(step: StepRef, op: number, plan: TransferPlan, ports: TransferPorts): OpenAnswer {
  ports.commit({ key: null, by, event: { type: "TransferOpened", step, op, plan } });
  const uploadId = ports.step()?.transfer?.uploadId;
  return uploadId === undefined ? { go: false, reason: unwanted } : { go: true, uploadId };
}

/**
 * Two deliveries never write the same part: a store that takes it twice may name it again, and the name that was told
 * first would fit no more.
 */
export function beginParts(step: StepRef, op: number, hold: PartsHold, ports: TransferPorts): PartsAnswer {
  const { uploadId, holder } = hold;
  const transfer = ports.step()?.transfer ?? null;
  if (transfer?.uploadId !== uploadId) return { go: false, reason: unwanted };
  const parts = awaitedParts(transfer, hold.parts);
  if (parts.length === 0) return { go: false, reason: "The parts are moved already." };
  const atMs = ports.nowMs();
  if (!ports.store.hold(uploadId, parts, holder, { atMs, untilMs: atMs + ports.holdMs })) {
    return { go: false, reason: "Another delivery moves them." };
  }
  ports.commit({ key: null, by, event: { type: "StepBegan", step, op } });
  return { go: true, parts };
}
