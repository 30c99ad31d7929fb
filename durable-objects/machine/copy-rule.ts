/** Rules of the copy machine: a rendition's copies on R2 and LucidLink come and go; the archive stays. */
import type { CopyState } from "../../schemas/asset-state.ts";
import { archivedProxy, mayRemove } from "./copy-command.ts";
import { forget, mine, placeWhenArchived, sameJob, startPlacing, startRemoving } from "./copy-move.ts";
import type { Draft, Rule, Verdict } from "./rule.ts";
import * as clock from "./step-clock.ts";
import type { CopyEvent, CopySubject } from "./subject.ts";

type Of<Type extends CopyEvent["type"]> = Extract<CopyEvent, { type: Type }>;
type CopyRule<Type extends CopyEvent["type"]> = Rule<CopyState, CopySubject, Of<Type>>;

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
  says: "Its rendition was encoded again and is verified: R2's old key is removed and the new one placed; LucidLink's file is replaced.",
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

function store(draft: Draft, { copy }: CopySubject, event: Of<"CopyPlaced" | "RemovalCalledOff">): Verdict {
  copy.state = "placed";
  copy.sizeBytes = event.sizeBytes;
  copy.etag = event.etag;
  copy.placedAtMs ??= draft.stamp.atMs;
  copy.verifiedAtMs = draft.stamp.atMs;
  clock.succeed(copy.step);
  return "applied";
}

/** Rule 3: the fact must carry the very size and checksum that the rendition was born with. */
function matchesRendition({ rendition }: CopySubject, event: Of<"CopyPlaced" | "RemovalCalledOff">): boolean {
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

export const stay: CopyRule<"RemovalCalledOff"> = {
  name: "stay",
  says: "Its project was pinned before it was removed: it is there whole, and stays.",
  to: ["placed"],
  run(draft, subject, event) {
    if (!mine(subject, event.op) || !sameJob(subject, event.jobId)) return "ignored";
    // What has a successor, or is deleted, is no project's to keep: the removal is sent again.
    if (draft.asset.job.state === "deleted" || subject.rendition.jobId !== event.jobId) return "ignored";
    if (!matchesRendition(subject, event)) return "rejected";
    subject.copy.wantedAgain = false;
    return store(draft, subject, event);
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
    if (subject.copy.wantedAgain && draft.asset.job.state !== "deleted") placeWhenArchived(draft, subject);
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

export const noteAccess: CopyRule<"ProxyAccessed"> = {
  name: "noteAccess",
  says: "A viewer played it: its retention starts over.",
  to: [],
  run(draft, subject, { jobId }) {
    if (!sameJob(subject, jobId)) return "ignored";
    subject.copy.lastAccessAtMs = draft.stamp.atMs;
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
