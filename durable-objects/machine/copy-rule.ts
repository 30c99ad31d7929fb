/** Rules of the copy machine: a rendition's copies on R2 and LucidLink come and go; the archive stays. */
import type { CopyState } from "../../schemas/asset-state.ts";
import { archivedProxy, commandPlace, commandPlaceOrCheck, commandRemove, mayRemove } from "./copy-command.ts";
import { isRetentionOver } from "./retention.ts";
import type { Draft, Rule, Verdict } from "./rule.ts";
import * as clock from "./step-clock.ts";
import type { CopyEvent, CopySubject } from "./subject.ts";

type Of<Type extends CopyEvent["type"]> = Extract<CopyEvent, { type: Type }>;
type CopyRule<Type extends CopyEvent["type"]> = Rule<CopyState, CopySubject, Of<Type>>;

function startPlacing(draft: Draft, subject: CopySubject): void {
  subject.copy.jobId = subject.rendition.jobId;
  subject.copy.state = "placing";
  subject.copy.wantedAgain = false;
  clock.intend(subject.copy.step, draft.policy.queuedWatchdogMs, draft);
  commandPlace(draft, subject);
}

/** Waits as `wanted` when the archive is not whole at the moment; `SourceReady` starts it then. */
function placeWhenArchived(draft: Draft, subject: CopySubject): void {
  if (archivedProxy(draft, subject) !== null) {
    startPlacing(draft, subject);
    return;
  }
  subject.copy.state = "wanted";
  subject.copy.wantedAgain = false;
  clock.close(subject.copy.step);
}

function startRemoving(draft: Draft, subject: CopySubject): void {
  subject.copy.state = "removing";
  subject.copy.wantedAgain = false;
  clock.intend(subject.copy.step, draft.policy.queuedWatchdogMs, draft);
  commandRemove(draft, subject);
}

/** An earlier job's key in R2 may still hold bytes: it goes first, or it would be forgotten. */
function placeInItsStead(draft: Draft, subject: CopySubject): void {
  const { rendition, copy } = subject;
  const leftover = copy.tier === "r2" && copy.jobId !== rendition.jobId && copy.state !== "evicted";
  if (!leftover || archivedProxy(draft, subject) === null) {
    placeWhenArchived(draft, subject);
    return;
  }
  startRemoving(draft, subject);
  copy.wantedAgain = true;
}

function forget({ copy }: CopySubject): void {
  copy.sizeBytes = null;
  copy.etag = null;
  copy.placedAtMs = null;
  copy.verifiedAtMs = null;
}

function mine({ copy }: CopySubject, op: number): boolean {
  return op === copy.step.op && clock.isOpen(copy.step);
}

const sameJob = ({ copy }: CopySubject, jobId: string) => copy.jobId === jobId;

export const place: CopyRule<"SourceReady"> = {
  name: "place",
  says: "Its rendition is verified in Wasabi: the copy is made.",
  to: ["placing"],
  run(draft, subject) {
    if (archivedProxy(draft, subject) === null) return "ignored";
    startPlacing(draft, subject);
    return "applied";
  },
};

export const replaceCopy: CopyRule<"SourceReplaced"> = {
  name: "replaceCopy",
  says: "Its rendition was encoded anew and is verified: R2's old key is removed and the new one placed; LucidLink's file is replaced.",
  to: ["removing", "wanted"],
  run(draft, subject) {
    const { copy } = subject;
    forget(subject);
    if (copy.tier === "r2" && copy.step.op > 0) {
      startRemoving(draft, subject);
      copy.wantedAgain = true;
    } else {
      copy.state = "wanted";
      clock.succeed(copy.step);
    }
    return "applied";
  },
};

function store(draft: Draft, { copy }: CopySubject, event: Of<"CopyPlaced">): Verdict {
  copy.state = "placed";
  copy.sizeBytes = event.sizeBytes;
  copy.etag = event.etag;
  copy.placedAtMs ??= draft.stamp.atMs;
  copy.verifiedAtMs = draft.stamp.atMs;
  copy.lastAccessAtMs = Math.max(copy.lastAccessAtMs ?? 0, draft.stamp.atMs);
  clock.succeed(copy.step);
  return "applied";
}

/** Rule 3: the fact must carry the very size and checksum that the rendition was born with. */
function matchesRendition({ rendition }: CopySubject, event: Of<"CopyPlaced">): boolean {
  return event.sizeBytes === rendition.sizeBytes && event.sha256.composite === rendition.sha256?.composite;
}

export const recordPlaced: CopyRule<"CopyPlaced"> = {
  name: "recordPlaced",
  says: "The copy is there, its size and checksum are the rendition's.",
  to: ["placed"],
  run(draft, subject, event) {
    if (!sameJob(subject, event.jobId) || event.op !== subject.copy.step.op) return "ignored";
    if (!matchesRendition(subject, event)) return "rejected";
    return store(draft, subject, event);
  },
};

export const removeStray: CopyRule<"CopyPlaced"> = {
  name: "removeStray",
  says: "A copy turned up that is no longer wanted: removed, so that no bytes leak; kept while Wasabi lacks its rendition.",
  to: ["removing", "placed", "wanted"],
  run(draft, subject, event) {
    if (!sameJob(subject, event.jobId)) return "ignored";
    if (mayRemove(draft, subject)) startRemoving(draft, subject);
    else if (matchesRendition(subject, event)) store(draft, subject, event);
    else subject.copy.state = "wanted";
    return "applied";
  },
};

export const recordRemoved: CopyRule<"CopyRemoved"> = {
  name: "recordRemoved",
  says: "The copy is gone; made again at once if it was asked for meanwhile.",
  to: ["evicted", "placing", "wanted"],
  run(draft, subject, event) {
    if (!mine(subject, event.op)) return "ignored";
    clock.succeed(subject.copy.step);
    forget(subject);
    if (subject.copy.wantedAgain) placeWhenArchived(draft, subject);
    else subject.copy.state = "evicted";
    return "applied";
  },
};

export const recordGone: CopyRule<"CopyRemoved"> = {
  name: "recordGone",
  says: "A removal that was given up had been done after all: the copy is gone.",
  to: ["evicted"],
  run(_draft, subject, event) {
    if (event.op !== subject.copy.step.op) return "ignored";
    clock.succeed(subject.copy.step);
    forget(subject);
    subject.copy.state = "evicted";
    return "applied";
  },
};

export const promote: CopyRule<"ProxyRequested"> = {
  name: "promote",
  says: "A viewer asks for it: the copy is made again.",
  to: ["placing", "wanted", "removing"],
  run(draft, subject) {
    subject.copy.lastAccessAtMs = draft.stamp.atMs;
    placeInItsStead(draft, subject);
    return "applied";
  },
};

export const promoteLater: CopyRule<"ProxyRequested"> = {
  name: "promoteLater",
  says: "A viewer asks while it is being removed: made again once that is over.",
  to: [],
  run(draft, subject) {
    if (subject.copy.wantedAgain) return "ignored";
    subject.copy.wantedAgain = true;
    subject.copy.lastAccessAtMs = draft.stamp.atMs;
    return "applied";
  },
};

export const noteAccess: CopyRule<"ProxyAccessed"> = {
  name: "noteAccess",
  says: "A viewer played it: its retention starts anew.",
  to: [],
  run(draft, subject, { jobId }) {
    if (!sameJob(subject, jobId)) return "ignored";
    subject.copy.lastAccessAtMs = draft.stamp.atMs;
    return "applied";
  },
};

export const evict: CopyRule<"RetentionElapsed"> = {
  name: "evict",
  says: "Nobody has played it for its retention, and nothing pins it: removed from R2.",
  to: ["removing"],
  run(draft, subject) {
    const { rendition, copy } = subject;
    if (copy.tier !== "r2" || archivedProxy(draft, subject) === null) return "ignored";
    if (!isRetentionOver(rendition.quality, copy, draft.policy, draft.stamp.atMs)) return "ignored";
    startRemoving(draft, subject);
    return "applied";
  },
};

export const withdraw: CopyRule<"CopyWithdrawn"> = {
  name: "withdraw",
  says: "The asset is deleted: the copy is removed, wherever it stands.",
  to: ["removing"],
  run(draft, subject) {
    startRemoving(draft, subject);
    return "applied";
  },
};

export const dropWish: CopyRule<"CopyWithdrawn"> = {
  name: "dropWish",
  says: "The asset is deleted: a copy that nobody was ever told to make is not made, any other is removed.",
  to: ["evicted", "removing"],
  run(draft, subject) {
    if (subject.copy.step.op > 0) startRemoving(draft, subject);
    else subject.copy.state = "evicted";
    return "applied";
  },
};

export const keepRemoving: CopyRule<"CopyWithdrawn"> = {
  name: "keepRemoving",
  says: "The asset is deleted while the copy is being removed: it is not made again.",
  to: [],
  run(_draft, { copy }) {
    if (!copy.wantedAgain) return "ignored";
    copy.wantedAgain = false;
    return "applied";
  },
};

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
