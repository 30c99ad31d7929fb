/** The copy machine: every state × every event, one named rule. */
import type { CopyState } from "../../schemas/asset-state.ts";
import * as copy from "./copy-rule.ts";
import { ignore, type Table } from "./rule.ts";
import type { CopyEvent, CopySubject } from "./subject.ts";

const late = {
  SourceReady: ignore,
  SourceReplaced: ignore,
  CopyPlaced: ignore,
  CopyRemoved: ignore,
  ProxyRequested: ignore,
  ProxyAccessed: ignore,
  RetentionElapsed: ignore,
  CopyWithdrawn: ignore,
  StepBegan: ignore,
  StepDeferred: ignore,
  StepFailed: ignore,
  StepDue: ignore,
  StepOverdue: ignore,
  RetryRequested: ignore,
} as const;

export const copyTable: Table<CopyState, CopySubject, CopyEvent> = {
  wanted: {
    ...late,
    SourceReady: copy.place,
    SourceReplaced: copy.replaceCopy,
    CopyPlaced: copy.recordPlaced,
    CopyWithdrawn: copy.dropWish,
  },
  placing: {
    ...late,
    SourceReplaced: copy.replaceCopy,
    CopyPlaced: copy.recordPlaced,
    CopyWithdrawn: copy.withdraw,
    StepBegan: copy.beginCopy,
    StepDeferred: copy.deferPlace,
    StepFailed: copy.failPlace,
    StepDue: copy.placeDue,
    StepOverdue: copy.placeOverdue,
    RetryRequested: copy.retryPlace,
  },
  placed: {
    ...late,
    SourceReplaced: copy.replaceCopy,
    CopyRemoved: copy.recordGone,
    ProxyRequested: copy.promote,
    ProxyAccessed: copy.noteAccess,
    RetentionElapsed: copy.evict,
    CopyWithdrawn: copy.withdraw,
  },
  removing: {
    ...late,
    CopyRemoved: copy.recordRemoved,
    ProxyRequested: copy.promoteLater,
    CopyWithdrawn: copy.keepRemoving,
    StepBegan: copy.beginCopy,
    StepDeferred: copy.deferRemove,
    StepFailed: copy.failRemove,
    StepDue: copy.removeDue,
    StepOverdue: copy.removeOverdue,
  },
  evicted: {
    ...late,
    CopyPlaced: copy.removeStray,
    ProxyRequested: copy.promote,
  },
  failed: {
    ...late,
    SourceReplaced: copy.replaceCopy,
    CopyPlaced: copy.recordPlaced,
    CopyRemoved: copy.recordGone,
    ProxyRequested: copy.promote,
    CopyWithdrawn: copy.withdraw,
    RetryRequested: copy.retryPlace,
  },
};
