/** An asset's door that answers by script and keeps what it was told: for a consumer's work on real stores. */
import type { ApplyResult, AssetDoor, BeginAnswer, ClaimAnswer } from "../durable-objects/asset-door.ts";
import type { PartDigest } from "../schemas/checksum.ts";
import type { EventEnvelope } from "../schemas/event.ts";

export interface ScriptedDoor extends AssetDoor {
  told: EventEnvelope[];
  calls: string[];
}

export interface Script {
  begin?: BeginAnswer;
  claim?: ClaimAnswer;
  parts?: PartDigest[];
  view?: AssetDoor["view"];
}

const applied: ApplyResult = { outcome: "applied", asset: null, created: false, reason: null, errors: [] };

export function scriptedDoor(script: Script = {}): ScriptedDoor {
  const told: EventEnvelope[] = [];
  const calls: string[] = [];
  const unscripted = () => Promise.reject(new Error("consumers do not call this"));
  return {
    told,
    calls,
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
    uploadedParts: async () => script.parts ?? [],
    partDigests: async () => script.parts ?? [],
    view: script.view ?? (async () => null),
    history: unscripted,
    evidence: unscripted,
    openPart: unscripted,
    recordUpload: unscripted,
    holdsUpload: unscripted,
    leasedOriginal: unscripted,
    locateProxy: unscripted,
    fetch: unscripted,
  };
}
