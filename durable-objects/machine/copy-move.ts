/** What the rules of the copy machine do to a copy: it begins to be placed or removed, waits, or is forgotten. */
import { archivedProxy, commandPlace, commandRemove } from "./copy-command.ts";
import type { Draft } from "./rule.ts";
import * as clock from "./step-clock.ts";
import type { CopySubject } from "./subject.ts";

export function startPlacing(draft: Draft, subject: CopySubject): void {
  subject.copy.jobId = subject.rendition.jobId;
  subject.copy.state = "placing";
  subject.copy.wantedAgain = false;
  clock.intend(subject.copy.step, draft.policy.queuedWatchdogMs, draft);
  commandPlace(draft, subject);
}

/** Waits as `wanted` when the archive is not whole at the moment; `SourceReady` starts it then. */
export function placeWhenArchived(draft: Draft, subject: CopySubject): void {
  if (archivedProxy(draft, subject) !== null) {
    startPlacing(draft, subject);
    return;
  }
  subject.copy.state = "wanted";
  subject.copy.wantedAgain = false;
  clock.close(subject.copy.step);
}

export function startRemoving(draft: Draft, subject: CopySubject): void {
  subject.copy.state = "removing";
  subject.copy.wantedAgain = false;
  clock.intend(subject.copy.step, draft.policy.queuedWatchdogMs, draft);
  commandRemove(draft, subject);
}

/** An earlier job's key in R2 may still hold bytes: it goes first, or it would be forgotten. */
export function placeInItsStead(draft: Draft, subject: CopySubject): void {
  const { rendition, copy } = subject;
  const leftover = copy.tier === "r2" && copy.jobId !== rendition.jobId && copy.state !== "evicted";
  if (!leftover || archivedProxy(draft, subject) === null) {
    placeWhenArchived(draft, subject);
    return;
  }
  startRemoving(draft, subject);
  copy.wantedAgain = true;
}

export function forget({ copy }: CopySubject): void {
  copy.sizeBytes = null;
  copy.etag = null;
  copy.placedAtMs = null;
  copy.verifiedAtMs = null;
}

export function mine({ copy }: CopySubject, op: number): boolean {
  return op === copy.step.op && clock.isOpen(copy.step);
}

export const sameJob = ({ copy }: CopySubject, jobId: string) => copy.jobId === jobId;
