/** Rules of the copy machine about the life of its step: begun, moved in parts, deferred, failed, sent again. */
import type { CopyState } from "../../schemas/asset-state.ts";
import type { TransferStage } from "../../schemas/transfer.ts";
import { archivedProxy, commandPlace, commandPlaceOrCheck, commandRemove, mayRemove } from "./copy-command.ts";
import { mine, placeInItsStead, placeWhenArchived, startRemoving } from "./copy-move.ts";
import type { Draft, Rule, Verdict } from "./rule.ts";
import * as clock from "./step-clock.ts";
import type { CopyEvent, CopySubject } from "./subject.ts";
import { advanceTransfer, beginTransfer } from "./transfer-rule.ts";

type Of<Type extends CopyEvent["type"]> = Extract<CopyEvent, { type: Type }>;
type CopyRule<Type extends CopyEvent["type"]> = Rule<CopyState, CopySubject, Of<Type>>;

export const beginCopy: CopyRule<"StepBegan"> = {
  name: "beginCopy",
  says: "A consumer or the agent works on it: its silence is watched instead of the queue's.",
  to: [],
  run(draft, subject, event) {
    if (!mine(subject, event.op)) return "ignored";
    const { policy } = draft;
    const { step, tier } = subject.copy;
    if (tier === "r2") clock.begin(step, policy.silentWatchdogMs, draft);
    else clock.beginPatiently(step, policy.agentCheckMs, draft);
    return "applied";
  },
};

function goOnPlacing(draft: Draft, subject: CopySubject, stages: TransferStage[] | null): Verdict {
  if (stages === null) return "ignored";
  if (archivedProxy(draft, subject) === null) placeWhenArchived(draft, subject);
  else commandPlace(draft, subject, stages);
  return "applied";
}

export const openPlace: CopyRule<"TransferOpened"> = {
  name: "openPlace",
  says: "The rendition is large: an upload is open for it on R2, and its first parts are asked for.",
  to: ["wanted"],
  run: (draft, subject, event) => goOnPlacing(draft, subject, beginTransfer(subject.copy.step, event, draft)),
};

export const advancePlace: CopyRule<"PartsMoved"> = {
  name: "advancePlace",
  says: "Parts have arrived on R2: the next are asked for, or the completion after the last.",
  to: ["wanted"],
  run: (draft, subject, event) => goOnPlacing(draft, subject, advanceTransfer(subject.copy.step, event, draft)),
};

const backoffOf = (draft: Draft, { copy }: CopySubject) =>
  copy.tier === "lucidlink" ? draft.policy.agentBackoff : draft.policy.backoff;

export const deferPlace: CopyRule<"StepDeferred"> = {
  name: "deferPlace",
  says: "Not now: again after a backoff; failed once the tries are used up (an outage never uses them up).",
  to: ["failed"],
  run(draft, subject, event) {
    if (!mine(subject, event.op)) return "ignored";
    if (!clock.defer(subject.copy.step, event, backoffOf(draft, subject), draft)) subject.copy.state = "failed";
    return "applied";
  },
};

export const failPlace: CopyRule<"StepFailed"> = {
  name: "failPlace",
  says: "It cannot be placed, and trying again would not help. The asset stays playable.",
  to: ["failed"],
  run(draft, subject, event) {
    if (!mine(subject, event.op)) return "ignored";
    clock.failStep(subject.copy.step, event.code, event.message, draft);
    subject.copy.state = "failed";
    return "applied";
  },
};

export const deferRemove: CopyRule<"StepDeferred"> = {
  name: "deferRemove",
  says: "Not now: again after a backoff; kept as it is once the tries are used up.",
  to: ["placed", "failed"],
  run(draft, subject, event) {
    if (!mine(subject, event.op)) return "ignored";
    if (!clock.defer(subject.copy.step, event, backoffOf(draft, subject), draft)) keep(draft, subject);
    return "applied";
  },
};

export const failRemove: CopyRule<"StepFailed"> = {
  name: "failRemove",
  says: "It must not or cannot be removed (its Wasabi object is not proven): kept, with the reason.",
  to: ["placed", "failed"],
  run(draft, subject, event) {
    if (!mine(subject, event.op)) return "ignored";
    clock.failStep(subject.copy.step, event.code, event.message, draft);
    keep(draft, subject);
    return "applied";
  },
};

/** A removal that did not happen: what is known to be there stays placed; a stray that resists is a failure to look at. */
function keep({ asset }: Draft, { copy }: CopySubject): void {
  copy.wantedAgain = false;
  const known = copy.placedAtMs !== null && asset.job.state !== "deleted";
  copy.state = known ? "placed" : "failed";
}

export const placeDue: CopyRule<"StepDue"> = {
  name: "placeDue",
  says: "The backoff is over: asked for again.",
  to: ["wanted"],
  run(draft, subject, event) {
    if (!clock.isDue(subject.copy.step, event.op, ["waiting"], draft)) return "ignored";
    return resendPlace(draft, subject, false);
  },
};

export const placeOverdue: CopyRule<"StepOverdue"> = {
  name: "placeOverdue",
  says: "No sign of life: asked for again, or the agent is asked how it stands; failed once consumers fell silent too often.",
  to: ["wanted", "failed"],
  run(draft, subject, event) {
    if (!clock.isDue(subject.copy.step, event.op, ["queued", "running"], draft)) return "ignored";
    return resendPlace(draft, subject, subject.copy.step.phase === "running");
  },
};

function resendPlace(draft: Draft, subject: CopySubject, begun: boolean): Verdict {
  if (archivedProxy(draft, subject) === null) {
    placeWhenArchived(draft, subject);
    return "applied";
  }
  const { copy } = subject;
  // The agent works on without a word between two questions: that is no silence.
  if (copy.tier === "lucidlink") clock.sendAgain(copy.step, draft.policy.queuedWatchdogMs, draft);
  else if (!clock.sendAfterSilence(copy.step, draft.policy.queuedWatchdogMs, draft)) {
    copy.state = "failed";
    return "applied";
  }
  commandPlaceOrCheck(draft, subject, begun);
  return "applied";
}

function resendRemove(phases: ("queued" | "running" | "waiting")[]) {
  return (draft: Draft, subject: CopySubject, event: Of<"StepDue" | "StepOverdue">): Verdict => {
    const { step } = subject.copy;
    if (!clock.isDue(step, event.op, phases, draft)) return "ignored";
    if (mayRemove(draft, subject)) {
      if (clock.sendAfterSilence(step, draft.policy.queuedWatchdogMs, draft)) commandRemove(draft, subject);
      else keep(draft, subject);
    } else {
      clock.failStep(step, "ETAG_MISMATCH", "Wasabi lacks its rendition: the copy is kept.", draft);
      keep(draft, subject);
    }
    return "applied";
  };
}

export const removeDue: CopyRule<"StepDue"> = {
  name: "removeDue",
  says: "The backoff is over: the removal is asked for again, or given up while Wasabi lacks the rendition.",
  to: ["placed", "failed"],
  run: resendRemove(["waiting"]),
};

export const removeOverdue: CopyRule<"StepOverdue"> = {
  name: "removeOverdue",
  says: "No sign of life: the removal is asked for again, or given up while Wasabi lacks the rendition.",
  to: ["placed", "failed"],
  run: resendRemove(["queued", "running"]),
};

export const retryPlace: CopyRule<"RetryRequested"> = {
  name: "retryPlace",
  says: "An operator asks: placed again at once; removed again, if the asset is deleted.",
  to: ["placing", "wanted", "removing"],
  run(draft, subject) {
    const { state } = draft.asset.job;
    if (state === "deleting") return "ignored";
    if (state === "deleted") startRemoving(draft, subject);
    else placeInItsStead(draft, subject);
    return "applied";
  },
};
