/**
 * Rules about a verified original that is not in Wasabi any more. The job stays where it is: what was made of the original
 * plays on, and what is still to be made fails by itself, as a runner cannot read it.
 */
import type { Job, JobState } from "../../schemas/asset-state.ts";
import type { EventOf } from "../../schemas/event.ts";
import type { Rule } from "./rule.ts";

type JobRule<Type extends "OriginalLost" | "OriginalFound"> = Rule<JobState, Job, EventOf<Type>>;

export const loseOriginal: JobRule<"OriginalLost"> = {
  name: "loseOriginal",
  says: "Somebody deleted or replaced the verified original: the asset's problem from now on, and the loudest alert.",
  to: [],
  run({ asset, stamp }, _job, { etag, code, message }) {
    const { original } = asset;
    if (original?.etag !== etag || original.loss?.code === code) return "ignored";
    original.loss = { code, message, sinceAtMs: original.loss?.sinceAtMs ?? stamp.atMs };
    return "applied";
  },
};

export const regainOriginal: JobRule<"OriginalFound"> = {
  name: "regainOriginal",
  says: "The verified original is back, whole: no problem any more.",
  to: [],
  run({ asset }, _job, { etag }) {
    const { original } = asset;
    if (original?.etag !== etag || original.loss === undefined) return "ignored";
    delete original.loss;
    return "applied";
  },
};
