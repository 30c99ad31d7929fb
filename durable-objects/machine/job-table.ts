/** The job machine: every state × every event, one named rule. */
import type { Job, JobState } from "../../schemas/asset-state.ts";
import * as archive from "./archive-rule.ts";
import * as job from "./job-rule.ts";
import * as original from "./original-rule.ts";
import { ignore, reject, type Table } from "./rule.ts";
import type { JobEvent } from "./subject.ts";

/** Facts that mean nothing once their time has passed; a state overrides those that it waits for. */
const late = {
  UploadNoticed: ignore,
  OriginalArchived: ignore,
  OriginalLost: original.loseOriginal,
  OriginalFound: original.regainOriginal,
  TranscodeClaimed: ignore,
  LeaseRenewed: ignore,
  SourceProbed: ignore,
  TranscodeFailed: ignore,
  LeaseReleased: ignore,
  LeaseExpired: ignore,
  LadderArchived: reject,
  RenditionLacking: reject,
  StepBegan: ignore,
  TransferOpened: ignore,
  PartsMoved: ignore,
  StepDeferred: ignore,
  StepFailed: ignore,
  StepDue: ignore,
  StepOverdue: ignore,
  RetryRequested: ignore,
  PriorityChanged: job.reprioritize,
  CancelRequested: ignore,
  DeleteRequested: job.beginGrace,
  UndeleteRequested: ignore,
  GraceElapsed: ignore,
} as const;

export const jobTable: Table<JobState, Job, JobEvent> = {
  received: {
    ...late,
    OriginalLost: ignore,
    OriginalFound: ignore,
    UploadNoticed: archive.noticeAgain,
    OriginalArchived: job.recordOriginal,
    StepBegan: archive.beginArchive,
    TransferOpened: archive.openArchive,
    PartsMoved: archive.advanceArchive,
    StepDeferred: archive.deferArchive,
    StepFailed: archive.failArchive,
    StepDue: archive.archiveDue,
    StepOverdue: archive.archiveOverdue,
    RetryRequested: archive.retryArchive,
    CancelRequested: job.cancelJob,
  },
  archived: {
    ...late,
    TranscodeClaimed: job.grantLease,
    LadderArchived: job.finishJob,
    StepDue: job.offerDue,
    StepOverdue: job.offerOverdue,
    RetryRequested: job.retryOffer,
    CancelRequested: job.cancelJob,
  },
  transcoding: {
    ...late,
    LeaseRenewed: job.renewLease,
    SourceProbed: job.recordSource,
    TranscodeFailed: job.endAttempt,
    LeaseReleased: job.takeBack,
    LeaseExpired: job.expireLease,
    LadderArchived: job.finishJob,
    RenditionLacking: job.encodeAgain,
    CancelRequested: job.cancelJob,
  },
  encoded: { ...late, RenditionLacking: job.encodeAgain },
  failed: {
    ...late,
    UploadNoticed: archive.revive,
    OriginalArchived: job.recordOriginal,
    LadderArchived: job.finishJob,
    RetryRequested: job.resumeJob,
    CancelRequested: job.cancelJob,
  },
  cancelled: { ...late, OriginalArchived: job.keepOriginal, RetryRequested: job.resumeJob },
  deleting: { ...late, DeleteRequested: ignore, UndeleteRequested: job.undelete, GraceElapsed: job.entomb },
  deleted: {
    ...late,
    OriginalLost: ignore,
    OriginalFound: ignore,
    PriorityChanged: ignore,
    DeleteRequested: ignore,
  },
};
