/** The copy machine: every state × every event, one named rule. */
import type { CopyState } from "../../schemas/asset-state.ts";
import * as retention from "./copy-retention-rule.ts";
import * as copy from "./copy-rule.ts";
import * as step from "./copy-step-rule.ts";
import { ignore, type Table } from "./rule.ts";
import type { CopyEvent, CopySubject } from "./subject.ts";

const late = {
  SourceReady: ignore,
  SourceReplaced: ignore,
  CopyPlaced: ignore,
  CopyRemoved: ignore,
  RemovalCalledOff: ignore,
  ProxyRequested: ignore,
  ProxyAccessed: ignore,
  RetentionElapsed: ignore,
  EvictionRequested: ignore,
  PromotionRequested: retention.wishToKeep,
  CopyWithdrawn: ignore,
  StepBegan: ignore,
  TransferOpened: ignore,
  PartsMoved: ignore,
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
    EvictionRequested: retention.evictUnmade,
    CopyWithdrawn: copy.dropWish,
  },
  placing: {
    ...late,
    SourceReplaced: copy.replaceCopy,
    CopyPlaced: copy.recordPlaced,
    ProxyRequested: retention.hurry,
    EvictionRequested: retention.evictNow,
    CopyWithdrawn: copy.withdraw,
    StepBegan: step.beginCopy,
    TransferOpened: step.openPlace,
    PartsMoved: step.advancePlace,
    StepDeferred: step.deferPlace,
    StepFailed: step.failPlace,
    StepDue: step.placeDue,
    StepOverdue: step.placeOverdue,
    RetryRequested: step.retryPlace,
  },
  placed: {
    ...late,
    SourceReplaced: copy.replaceCopy,
    CopyRemoved: copy.recordGone,
    ProxyRequested: retention.promote,
    ProxyAccessed: copy.noteAccess,
    RetentionElapsed: retention.evict,
    EvictionRequested: retention.evictNow,
    PromotionRequested: retention.keepPlaced,
    CopyWithdrawn: copy.withdraw,
  },
  removing: {
    ...late,
    CopyRemoved: copy.recordRemoved,
    RemovalCalledOff: copy.stay,
    ProxyRequested: retention.promoteLater,
    ProxyAccessed: retention.returnLater,
    EvictionRequested: retention.evictForGood,
    PromotionRequested: retention.wishAgain,
    CopyWithdrawn: copy.keepRemoving,
    StepBegan: step.beginCopy,
    StepDeferred: step.deferRemove,
    StepFailed: step.failRemove,
    StepDue: step.removeDue,
    StepOverdue: step.removeOverdue,
  },
  evicted: {
    ...late,
    CopyPlaced: copy.removeStray,
    ProxyRequested: retention.promote,
    PromotionRequested: retention.wishFor,
  },
  failed: {
    ...late,
    SourceReplaced: copy.replaceCopy,
    CopyPlaced: copy.recordPlaced,
    CopyRemoved: copy.recordGone,
    ProxyRequested: retention.promote,
    PromotionRequested: retention.wishFor,
    CopyWithdrawn: copy.withdraw,
    RetryRequested: step.retryPlace,
  },
};
