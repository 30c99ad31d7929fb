/** The rendition machine: every state × every event, one named rule. */
import type { RenditionState, StoredRendition } from "../../schemas/asset-state.ts";
import * as rendition from "./rendition-rule.ts";
import { ignore, reject, type Table } from "./rule.ts";
import type { RenditionEvent } from "./subject.ts";

const late = {
  EncodingBegan: reject,
  EncodingStopped: ignore,
  EncodingGivenUp: ignore,
  UploadOpened: ignore,
  RenditionUploaded: ignore,
  RenditionArchived: ignore,
  ArchiveLost: ignore,
  StepBegan: ignore,
  TransferOpened: ignore,
  PartsMoved: ignore,
  StepDeferred: ignore,
  StepFailed: ignore,
  StepDue: ignore,
  StepOverdue: ignore,
} as const;

const steps = {
  RenditionArchived: rendition.recordArchived,
  StepBegan: rendition.beginStep,
  StepDeferred: rendition.deferStep,
  StepFailed: rendition.failStep,
} as const;

export const renditionTable: Table<RenditionState, StoredRendition, RenditionEvent> = {
  wanted: { ...late, EncodingBegan: rendition.beginEncoding, EncodingGivenUp: rendition.giveUpEncoding },
  encoding: {
    ...late,
    EncodingBegan: rendition.changePlan,
    EncodingStopped: rendition.stopEncoding,
    EncodingGivenUp: rendition.giveUpEncoding,
    UploadOpened: rendition.recordUpload,
    RenditionUploaded: rendition.recordParts,
  },
  uploaded: { ...late, ...steps, StepDue: rendition.completeDue, StepOverdue: rendition.completeOverdue },
  archived: { ...late, ArchiveLost: rendition.loseArchive },
  missing: {
    ...late,
    ...steps,
    TransferOpened: rendition.openRestore,
    PartsMoved: rendition.advanceRestore,
    StepDue: rendition.restoreDue,
    StepOverdue: rendition.restoreOverdue,
  },
  failed: { ...late, EncodingBegan: rendition.beginEncoding },
};
