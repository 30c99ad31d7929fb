/** What each machine works on, and the events it knows: facts from outside, and what one machine's change means to another. */
import type { StoredCopy, StoredRendition } from "../../schemas/asset-state.ts";
import type { EventOf } from "../../schemas/event.ts";
import type { FailureCode } from "../../schemas/failure.ts";
import type { RenditionPlan } from "../../schemas/ladder.ts";

export type JobEvent =
  | EventOf<
      | "UploadNoticed"
      | "OriginalArchived"
      | "OriginalLost"
      | "OriginalFound"
      | "TranscodeClaimed"
      | "LeaseRenewed"
      | "SourceProbed"
      | "TranscodeFailed"
      | "LeaseReleased"
      | "LeaseExpired"
      | "StepBegan"
      | "TransferOpened"
      | "PartsMoved"
      | "StepDeferred"
      | "StepFailed"
      | "StepDue"
      | "StepOverdue"
      | "RetryRequested"
      | "PriorityChanged"
      | "CancelRequested"
      | "DeleteRequested"
      | "UndeleteRequested"
      | "GraceElapsed"
    >
  /** Every rendition of the ladder is verified in Wasabi. */
  | { type: "LadderArchived" }
  /** A rendition has to be encoded (again) and nobody is at it. */
  | { type: "RenditionLacking"; code: FailureCode; message: string };

export type RenditionEvent =
  | EventOf<
      | "UploadOpened"
      | "RenditionUploaded"
      | "RenditionArchived"
      | "ArchiveLost"
      | "StepBegan"
      | "TransferOpened"
      | "PartsMoved"
      | "StepDeferred"
      | "StepFailed"
      | "StepDue"
      | "StepOverdue"
    >
  /** A runner encodes it under the present lease. */
  | { type: "EncodingBegan"; plan: RenditionPlan }
  /** The lease is over before it was uploaded. */
  | { type: "EncodingStopped" }
  /** The job failed; nobody will encode it until a retry. */
  | { type: "EncodingGivenUp" };

export type CopyEvent =
  | EventOf<
      | "CopyPlaced"
      | "CopyRemoved"
      | "RemovalCalledOff"
      | "ProxyRequested"
      | "ProxyAccessed"
      | "RetentionElapsed"
      | "EvictionRequested"
      | "PromotionRequested"
      | "StepBegan"
      | "TransferOpened"
      | "PartsMoved"
      | "StepDeferred"
      | "StepFailed"
      | "StepDue"
      | "StepOverdue"
      | "RetryRequested"
    >
  /** Its rendition is archived, so that it may be placed. */
  | { type: "SourceReady" }
  /** Its rendition was encoded again under another job and is verified: what the copy holds has a successor. */
  | { type: "SourceReplaced" }
  /** The asset is deleted: the copy goes. */
  | { type: "CopyWithdrawn" };

export interface CopySubject {
  readonly rendition: StoredRendition;
  readonly copy: StoredCopy;
}
