/** An asset's door that answers by script and keeps what it was told: for a consumer's work on real stores. */
import type { ApplyResult, AssetDoor, BeginAnswer, ClaimAnswer, OpenAnswer } from "../durable-objects/asset-door.ts";
import type { PartDigest } from "../schemas/checksum.ts";
import type { EventEnvelope } from "../schemas/event.ts";
import type { TransferPlan } from "../schemas/transfer.ts";

export interface ScriptedDoor extends AssetDoor {
  told: EventEnvelope[];
  calls: string[];
  /** Of the transfers that were opened. */
  plans: TransferPlan[];
}

export interface Script {
  begin?: BeginAnswer;
  claim?: ClaimAnswer;
  open?: OpenAnswer;
  parts?: PartDigest[];
  view?: AssetDoor["view"];
}

const applied: ApplyResult = { outcome: "applied", asset: null, created: false, reason: null, errors: [] };

export function scriptedDoor(script: Script = {}): ScriptedDoor {
  const told: EventEnvelope[] = [];
  const calls: string[] = [];
  const plans: TransferPlan[] = [];
  const unscripted = () => Promise.reject(new Error("consumers do not call this"));
  return {
    told,
    calls,
    plans,
    async begin() {
      calls.push("begin");
      return script.begin ?? { go: true };
    },
    async claim(_step, _op, verb) {
      calls.push(`claim ${verb}`);
      return script.claim ?? { granted: true, untilMs: Date.now() + 60_000 };
    },
    async apply(envelope) {
      told.push(envelope);
      return applied;
    },
    async openTransfer(_step, _op, plan) {
      plans.push(plan);
      return script.open ?? { go: true, uploadId: plan.uploadId };
    },
    beginParts: async (_step, _op, { parts }) => ({ go: true, parts: [...parts] }),
    movedParts: async () =>
      told.flatMap(({ event }) => (event.type === "PartsMoved" ? event.parts : [])).sort((a, b) => a.n - b.n),
    uploadedParts: async () => script.parts ?? [],
    partDigests: async (_quality, _jobId, range = { first: 1, last: 10_000 }) =>
      (script.parts ?? []).filter(({ n }) => n >= range.first && n <= range.last),
    view: script.view ?? (async () => null),
    history: unscripted,
    evidence: unscripted,
    why: unscripted,
    confirm: unscripted,
    resend: unscripted,
    openPart: unscripted,
    recordUpload: unscripted,
    holdsUpload: unscripted,
    leasedOriginal: unscripted,
    locateProxy: unscripted,
    fetch: unscripted,
  };
}
