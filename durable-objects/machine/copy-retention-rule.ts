/** Rules of the copy machine about who wants a copy on R2: viewers and operators bring it back, time and operators end it. */
import type { CopyState } from "../../schemas/asset-state.ts";
import type { RetentionTerms } from "../../schemas/retention.ts";
import { archivedProxy, commandPlace } from "./copy-command.ts";
import { placeInItsStead, sameJob, startRemoving } from "./copy-move.ts";
import { mayPlace } from "./placement.ts";
import { isRetentionOver, pinnedUntilMs } from "./retention.ts";
import type { Draft, Rule, Verdict } from "./rule.ts";
import type { CopyEvent, CopySubject } from "./subject.ts";

type Of<Type extends CopyEvent["type"]> = Extract<CopyEvent, { type: Type }>;
type CopyRule<Type extends CopyEvent["type"]> = Rule<CopyState, CopySubject, Of<Type>>;

export const promote: CopyRule<"ProxyRequested"> = {
  name: "promote",
  says: "A viewer asks for it: the copy is made again.",
  to: ["placing", "wanted", "removing"],
  run(draft, subject) {
    subject.copy.lastAccessAtMs = draft.stamp.atMs;
    subject.copy.reason = "viewer";
    placeInItsStead(draft, subject);
    return "applied";
  },
};

export const hurry: CopyRule<"ProxyRequested"> = {
  name: "hurry",
  says: "A viewer asks for it while it is on its way for another reason: from now on it goes ahead of what moves in bulk.",
  to: [],
  run(draft, subject) {
    const { copy } = subject;
    if (copy.reason === "viewer") return "ignored";
    copy.reason = "viewer";
    copy.lastAccessAtMs = draft.stamp.atMs;
    // Twice is harmless, and the one in the bulk's queue may be hours away.
    const isQueued = copy.step.phase === "queued" && copy.step.transfer === null;
    if (isQueued && archivedProxy(draft, subject) !== null) commandPlace(draft, subject);
    return "applied";
  },
};

function wantAgain({ stamp }: Draft, { copy }: CopySubject): Verdict {
  if (copy.wantedAgain) return "ignored";
  copy.wantedAgain = true;
  copy.reason = "viewer";
  copy.lastAccessAtMs = stamp.atMs;
  return "applied";
}

export const promoteLater: CopyRule<"ProxyRequested"> = {
  name: "promoteLater",
  says: "A viewer asks while it is being removed: made again once that is over.",
  to: [],
  run: wantAgain,
};

export const returnLater: CopyRule<"ProxyAccessed"> = {
  name: "returnLater",
  says: "A viewer began to play it just before it was removed: made again once that is over.",
  to: [],
  run: (draft, subject, { jobId }) =>
    sameJob(subject, jobId) && mayPlace(draft.asset) ? wantAgain(draft, subject) : "ignored",
};

/** A pin only ever grows by a wish; it is lifted by name. @returns whether anything changed */
function pin({ copy }: CopySubject, { pinnedUntilMs: untilMs }: Of<"PromotionRequested">): boolean {
  if (untilMs === null || untilMs <= (copy.pinnedUntilMs ?? 0)) return false;
  copy.pinnedUntilMs = untilMs;
  return true;
}

export const wishFor: CopyRule<"PromotionRequested"> = {
  name: "wishFor",
  says: "An operator wants it on R2: the copy is made again, and kept for as long as was asked.",
  to: ["placing", "wanted", "removing"],
  run(draft, subject, event) {
    pin(subject, event);
    subject.copy.reason = "operator";
    placeInItsStead(draft, subject);
    return "applied";
  },
};

export const wishToKeep: CopyRule<"PromotionRequested"> = {
  name: "wishToKeep",
  says: "An operator wants it on R2, and it is on its way: kept for as long as was asked.",
  to: [],
  run: (_draft, subject, event) => (pin(subject, event) ? "applied" : "ignored"),
};

export const wishAgain: CopyRule<"PromotionRequested"> = {
  name: "wishAgain",
  says: "An operator wants it on R2 while it is being removed: made again once that is over.",
  to: [],
  run(_draft, subject, event) {
    const pinned = pin(subject, event);
    if (subject.copy.wantedAgain) return pinned ? "applied" : "ignored";
    subject.copy.wantedAgain = true;
    subject.copy.reason = "operator";
    return "applied";
  },
};

export const keepPlaced: CopyRule<"PromotionRequested"> = {
  name: "keepPlaced",
  says: "An operator wants it on R2, where it is: its retention starts over, and it is kept for as long as was asked.",
  to: [],
  run(draft, subject, event) {
    pin(subject, event);
    subject.copy.reason = "operator";
    subject.copy.lastAccessAtMs = draft.stamp.atMs;
    return "applied";
  },
};

const ownTerms = ({ policy }: Draft, { rendition }: CopySubject): RetentionTerms => ({
  days: policy.retentionDays[rendition.quality],
  pinnedUntilMs: null,
});

export const evict: CopyRule<"RetentionElapsed"> = {
  name: "evict",
  says: "Nobody has played it for its retention, and nothing pins it: removed from R2.",
  to: ["removing"],
  run(draft, subject, { terms = ownTerms(draft, subject) }) {
    const { copy } = subject;
    if (copy.tier !== "r2" || archivedProxy(draft, subject) === null) return "ignored";
    if (!isRetentionOver(draft.asset, copy, terms, draft.stamp.atMs)) return "ignored";
    startRemoving(draft, subject);
    return "applied";
  },
};

/** Whether an operator's word ends a copy on R2. */
function mayEvict({ asset, stamp }: Draft, { copy }: CopySubject, event: Of<"EvictionRequested">): boolean {
  const { projectPinMs = null } = event;
  return copy.tier === "r2" && (pinnedUntilMs(asset, copy, projectPinMs) ?? 0) <= stamp.atMs;
}

export const evictNow: CopyRule<"EvictionRequested"> = {
  name: "evictNow",
  says: "An operator wants it off R2, where it is or on its way: removed, unless it is pinned.",
  to: ["removing"],
  run(draft, subject, event) {
    if (!mayEvict(draft, subject, event) || archivedProxy(draft, subject) === null) return "ignored";
    startRemoving(draft, subject);
    return "applied";
  },
};

export const evictUnmade: CopyRule<"EvictionRequested"> = {
  name: "evictUnmade",
  says: "An operator wants it off R2 before it was ever asked for there: it is not made, unless it is pinned.",
  to: ["evicted"],
  run(draft, subject, event) {
    // Of one that was asked for before, R2 may hold bytes, and nothing is removed while Wasabi lacks its rendition.
    if (!mayEvict(draft, subject, event) || subject.copy.step.op > 0) return "ignored";
    subject.copy.state = "evicted";
    return "applied";
  },
};

export const evictForGood: CopyRule<"EvictionRequested"> = {
  name: "evictForGood",
  says: "An operator wants it off R2 while it is being removed to be made again: it is not, unless it is pinned.",
  to: [],
  run(draft, subject, event) {
    if (!subject.copy.wantedAgain || !mayEvict(draft, subject, event)) return "ignored";
    subject.copy.wantedAgain = false;
    return "applied";
  },
};
