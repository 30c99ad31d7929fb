/** Rules of the rendition machine: from wanted to verified in Wasabi. */
import type { RenditionState, StoredRendition } from "../../schemas/asset-state.ts";
import type { FailureCode } from "../../schemas/failure.ts";
import { edgeKey, proxyKey } from "../../schemas/key.ts";
import type { TransferStage } from "../../schemas/transfer.ts";
import type { Draft, Rule, Verdict } from "./rule.ts";
import * as clock from "./step-clock.ts";
import type { RenditionEvent } from "./subject.ts";
import { probingStages } from "./transfer.ts";
import { advanceTransfer, beginTransfer } from "./transfer-rule.ts";

type Of<Type extends RenditionEvent["type"]> = Extract<RenditionEvent, { type: Type }>;
type RenditionRule<Type extends RenditionEvent["type"]> = Rule<RenditionState, StoredRendition, Of<Type>>;

function abortUpload({ effects }: Draft, rendition: StoredRendition): void {
  if (rendition.upload === null) return;
  effects.push({ type: "AbortUpload", key: rendition.upload.key, uploadId: rendition.upload.uploadId });
  rendition.upload = null;
}

function commandComplete({ effects }: Draft, rendition: StoredRendition): void {
  const { upload, sizeBytes, sha256 } = rendition;
  if (upload === null || sizeBytes === null || sha256 === null)
    throw new Error("an uploaded rendition without its upload");
  effects.push({
    type: "CompleteUpload",
    op: rendition.step.op,
    quality: rendition.quality,
    jobId: rendition.jobId,
    key: upload.key,
    uploadId: upload.uploadId,
    sizeBytes,
    sha256,
  });
}

function commandRestore(
  { asset, effects }: Draft,
  rendition: StoredRendition,
  stages: readonly TransferStage[] = probingStages(rendition.step),
): void {
  const { sizeBytes, sha256 } = rendition;
  if (sizeBytes === null || sha256 === null) throw new Error("an archived rendition without its checksum");
  for (const stage of stages) {
    effects.push({
      type: "RestoreArchive",
      op: rendition.step.op,
      stage,
      quality: rendition.quality,
      jobId: rendition.jobId,
      key: proxyKey(asset, rendition.quality),
      from: edgeKey(rendition.jobId, rendition.quality),
      sizeBytes,
      sha256,
    });
  }
}

function mine(rendition: StoredRendition, event: Of<"StepBegan" | "StepDeferred" | "StepFailed">): boolean {
  return event.op === rendition.step.op && clock.isOpen(rendition.step);
}

/** Nothing usable is in Wasabi or on its way there: it has to be encoded. */
function lack(draft: Draft, rendition: StoredRendition, code: FailureCode, message: string): void {
  abortUpload(draft, rendition);
  clock.failStep(rendition.step, code, message, draft);
  // It was playable: other bytes need other URLs.
  if (rendition.etag !== null) rendition.jobId = draft.stamp.newId;
  rendition.state = "wanted";
  rendition.etag = null;
  rendition.verifiedAtMs = null;
}

export const beginEncoding: RenditionRule<"EncodingBegan"> = {
  name: "beginEncoding",
  says: "The holder of the lease encodes it.",
  to: ["encoding"],
  run(draft, rendition, { plan }) {
    abortUpload(draft, rendition);
    rendition.plan = plan;
    rendition.state = "encoding";
    clock.close(rendition.step);
    return "applied";
  },
};

export const changePlan: RenditionRule<"EncodingBegan"> = {
  name: "changePlan",
  says: "The holder has seen more of the source: it encodes by another plan, and sends every part again.",
  to: [],
  run(_draft, rendition, { plan }) {
    rendition.plan = plan;
    return "applied";
  },
};

export const stopEncoding: RenditionRule<"EncodingStopped"> = {
  name: "stopEncoding",
  says: "The lease ended first: its upload is aborted, it waits for the next attempt.",
  to: ["wanted"],
  run(draft, rendition) {
    abortUpload(draft, rendition);
    rendition.state = "wanted";
    return "applied";
  },
};

export const giveUpEncoding: RenditionRule<"EncodingGivenUp"> = {
  name: "giveUpEncoding",
  says: "The job failed: its upload is aborted.",
  to: ["failed"],
  run(draft, rendition) {
    abortUpload(draft, rendition);
    rendition.state = "failed";
    return "applied";
  },
};

export const recordUpload: RenditionRule<"UploadOpened"> = {
  name: "recordUpload",
  says: "Its multipart upload exists: recorded before the first part. The first one recorded wins.",
  to: [],
  run(_draft, rendition, { key, uploadId, partSizeBytes }) {
    if (rendition.upload !== null) return "ignored";
    rendition.upload = { key, uploadId, partSizeBytes };
    return "applied";
  },
};

export const recordParts: RenditionRule<"RenditionUploaded"> = {
  name: "recordParts",
  says: "All its parts are in Wasabi: the upload is to be completed and verified.",
  to: ["uploaded"],
  run(draft, rendition, event) {
    if (rendition.upload === null) return "rejected";
    rendition.width = event.width;
    rendition.height = event.height;
    rendition.frames = event.frames;
    rendition.durationSeconds = event.durationSeconds;
    rendition.sizeBytes = event.sizeBytes;
    rendition.sha256 = event.sha256;
    rendition.state = "uploaded";
    clock.intend(rendition.step, draft.policy.queuedWatchdogMs, draft);
    commandComplete(draft, rendition);
    return "applied";
  },
};

export const recordArchived: RenditionRule<"RenditionArchived"> = {
  name: "recordArchived",
  says: "The object in Wasabi is complete and verified by size and ETag.",
  to: ["archived"],
  run(draft, rendition, event) {
    if (event.jobId !== rendition.jobId || event.op !== rendition.step.op) return "ignored";
    if (event.sizeBytes !== rendition.sizeBytes) return "rejected";
    rendition.state = "archived";
    rendition.upload = null;
    rendition.etag = event.etag;
    rendition.verifiedAtMs = draft.stamp.atMs;
    clock.succeed(rendition.step);
    return "applied";
  },
};

export const loseArchive: RenditionRule<"ArchiveLost"> = {
  name: "loseArchive",
  says: "The object is gone from Wasabi: restored from a placed copy whose checksum matches, else encoded again.",
  to: ["missing", "wanted"],
  run(draft, rendition, { jobId, message }) {
    if (jobId !== rendition.jobId) return "ignored";
    const placedOnEdge = rendition.copies.some(
      (copy) => copy.tier === "r2" && copy.state === "placed" && copy.jobId === jobId,
    );
    if (!placedOnEdge) {
      lack(draft, rendition, "ETAG_MISMATCH", message);
      return "applied";
    }
    rendition.state = "missing";
    clock.intend(rendition.step, draft.policy.queuedWatchdogMs, draft);
    commandRestore(draft, rendition);
    return "applied";
  },
};

export const beginStep: RenditionRule<"StepBegan"> = {
  name: "beginStep",
  says: "A consumer works on it: its silence is watched instead of the queue's.",
  to: [],
  run(draft, rendition, event) {
    if (!mine(rendition, event)) return "ignored";
    clock.begin(rendition.step, draft.policy.silentWatchdogMs, draft);
    return "applied";
  },
};

function goOnRestoring(draft: Draft, rendition: StoredRendition, stages: TransferStage[] | null): Verdict {
  if (stages === null) return "ignored";
  commandRestore(draft, rendition, stages);
  return "applied";
}

export const openRestore: RenditionRule<"TransferOpened"> = {
  name: "openRestore",
  says: "What is to be restored is large: an upload is open for it, and its first parts are asked for.",
  to: [],
  run: (draft, rendition, event) => goOnRestoring(draft, rendition, beginTransfer(rendition.step, event, draft)),
};

export const advanceRestore: RenditionRule<"PartsMoved"> = {
  name: "advanceRestore",
  says: "Parts are back in Wasabi: the next are asked for, or the completion after the last.",
  to: [],
  run: (draft, rendition, event) => goOnRestoring(draft, rendition, advanceTransfer(rendition.step, event, draft)),
};

export const deferStep: RenditionRule<"StepDeferred"> = {
  name: "deferStep",
  says: "Not now: again after a backoff; encoded again once the tries are used up.",
  to: ["wanted"],
  run(draft, rendition, event) {
    if (!mine(rendition, event)) return "ignored";
    if (!clock.defer(rendition.step, event, draft.policy.backoff, draft)) {
      lack(draft, rendition, event.code, event.message);
    }
    return "applied";
  },
};

export const failStep: RenditionRule<"StepFailed"> = {
  name: "failStep",
  says: "What was uploaded cannot become a verified object: it is encoded again.",
  to: ["wanted"],
  run(draft, rendition, event) {
    if (!mine(rendition, event)) return "ignored";
    lack(draft, rendition, event.code, event.message);
    return "applied";
  },
};

function resend(
  command: (draft: Draft, rendition: StoredRendition) => void,
  phases: ("queued" | "running" | "waiting")[],
) {
  return (draft: Draft, rendition: StoredRendition, event: Of<"StepDue" | "StepOverdue">): Verdict => {
    if (!clock.isDue(rendition.step, event.op, phases, draft)) return "ignored";
    if (clock.sendAfterSilence(rendition.step, draft.policy.queuedWatchdogMs, draft)) command(draft, rendition);
    else lack(draft, rendition, "STEP_OVERDUE", "Whoever worked on it fell silent.");
    return "applied";
  };
}

export const completeDue: RenditionRule<"StepDue"> = {
  name: "completeDue",
  says: "The backoff is over: the completion is asked for again.",
  to: [],
  run: resend(commandComplete, ["waiting"]),
};

export const completeOverdue: RenditionRule<"StepOverdue"> = {
  name: "completeOverdue",
  says: "No sign of life: the completion is asked for again; encoded again once its consumers fell silent too often.",
  to: ["wanted"],
  run: resend(commandComplete, ["queued", "running"]),
};

export const restoreDue: RenditionRule<"StepDue"> = {
  name: "restoreDue",
  says: "The backoff is over: the restoration is asked for again.",
  to: [],
  run: resend(commandRestore, ["waiting"]),
};

export const restoreOverdue: RenditionRule<"StepOverdue"> = {
  name: "restoreOverdue",
  says: "No sign of life: the restoration is asked for again; encoded again once its consumers fell silent too often.",
  to: ["wanted"],
  run: resend(commandRestore, ["queued", "running"]),
};
