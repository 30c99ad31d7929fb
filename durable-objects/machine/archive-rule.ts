/** Rules of the job machine about its first step: the original, verified in Wasabi or brought there. */
import type { Job, JobState } from "../../schemas/asset-state.ts";
import type { EventOf } from "../../schemas/event.ts";
import { originalKey } from "../../schemas/key.ts";
import type { TransferStage } from "../../schemas/transfer.ts";
import type { Draft, Rule, Verdict } from "./rule.ts";
import * as clock from "./step-clock.ts";
import type { JobEvent } from "./subject.ts";
import { probingStages } from "./transfer.ts";
import { advanceTransfer, beginTransfer } from "./transfer-rule.ts";

type Of<Type extends JobEvent["type"]> = Extract<JobEvent, { type: Type }>;
type JobRule<Type extends JobEvent["type"]> = Rule<JobState, Job, Of<Type>>;

/** Sends the command that verifies the original or brings it in, a message for each stage. */
function commandArchive({ asset, effects }: Draft, stages: readonly TransferStage[]): void {
  const common = {
    op: asset.job.archive.op,
    key: originalKey(asset),
    sizeBytes: asset.sizeBytes,
    sha256: asset.sha256,
  };
  const { upload } = asset;
  for (const stage of stages) {
    effects.push(
      upload.kind === "wasabi"
        ? { type: "ArchiveOriginal", sourceKey: upload.key, ...common, stage }
        : { type: "IngestOriginal", url: upload.url, ...common, stage },
    );
  }
}

export function startArchive(draft: Draft, job: Job): void {
  job.state = "received";
  clock.intend(job.archive, draft.policy.queuedWatchdogMs, draft);
  commandArchive(draft, probingStages(job.archive));
}

export function failJob(job: Job): void {
  job.state = "failed";
  job.lease = null;
}

export const noticeAgain: JobRule<"UploadNoticed"> = {
  name: "noticeAgain",
  says: "The upload is announced again: an original that was awaited is looked for at once.",
  to: [],
  run(draft, job, { upload }) {
    if (job.archive.problem?.code !== "ORIGINAL_MISSING") return "ignored";
    draft.asset.upload = upload.source;
    startArchive(draft, job);
    return "applied";
  },
};

export const revive: JobRule<"UploadNoticed"> = {
  name: "revive",
  says: "The upload is announced again after the job failed for want of its original: it starts over.",
  to: ["received"],
  run(draft, job, { upload }) {
    if (draft.asset.original !== null) return "ignored";
    draft.asset.upload = upload.source;
    startArchive(draft, job);
    return "applied";
  },
};

export const beginArchive: JobRule<"StepBegan"> = {
  name: "beginArchive",
  says: "A consumer works on the original: its silence is watched instead of the queue's.",
  to: [],
  run(draft, job, event) {
    if (event.step.kind !== "archive" || event.op !== job.archive.op || !clock.isOpen(job.archive)) return "ignored";
    clock.begin(job.archive, draft.policy.silentWatchdogMs, draft);
    return "applied";
  },
};

function goOnArchiving(draft: Draft, stages: TransferStage[] | null): Verdict {
  if (stages === null) return "ignored";
  commandArchive(draft, stages);
  return "applied";
}

export const openArchive: JobRule<"TransferOpened"> = {
  name: "openArchive",
  says: "The original is large: an upload is open for it, and its first parts are asked for.",
  to: [],
  run(draft, job, event) {
    if (event.step.kind !== "archive") return "ignored";
    return goOnArchiving(draft, beginTransfer(job.archive, event, draft));
  },
};

export const advanceArchive: JobRule<"PartsMoved"> = {
  name: "advanceArchive",
  says: "Parts of the original have arrived: the next are asked for, or the completion after the last.",
  to: [],
  run(draft, job, event) {
    if (event.step.kind !== "archive") return "ignored";
    return goOnArchiving(draft, advanceTransfer(job.archive, event, draft));
  },
};

export const deferArchive: JobRule<"StepDeferred"> = {
  name: "deferArchive",
  says: "The original cannot be archived yet: again after a backoff; failed when it stays missing or the tries are used up.",
  to: ["failed"],
  run(draft, job, event) {
    const step = job.archive;
    if (event.step.kind !== "archive" || event.op !== step.op || !clock.isOpen(step)) return "ignored";
    const goesOn = clock.defer(step, event, draft.policy.backoff, draft);
    const sinceMs = draft.stamp.atMs - (step.problem?.sinceAtMs ?? draft.stamp.atMs);
    const graceEnded = event.code === "ORIGINAL_MISSING" && sinceMs >= draft.policy.originalGraceMs;
    if (!goesOn || graceEnded) {
      clock.close(step);
      failJob(job);
    }
    return "applied";
  },
};

export const failArchive: JobRule<"StepFailed"> = {
  name: "failArchive",
  says: "The original cannot be archived, and trying again would not help.",
  to: ["failed"],
  run(draft, job, event) {
    if (event.step.kind !== "archive" || event.op !== job.archive.op || !clock.isOpen(job.archive)) return "ignored";
    clock.failStep(job.archive, event.code, event.message, draft);
    failJob(job);
    return "applied";
  },
};

function resendArchive(phases: ("queued" | "running" | "waiting")[]) {
  return (draft: Draft, job: Job, event: EventOf<"StepDue" | "StepOverdue">): Verdict => {
    if (event.step.kind !== "archive" || !clock.isDue(job.archive, event.op, phases, draft)) return "ignored";
    if (clock.sendAfterSilence(job.archive, draft.policy.queuedWatchdogMs, draft)) {
      commandArchive(draft, probingStages(job.archive));
    } else {
      failJob(job);
    }
    return "applied";
  };
}

export const archiveDue: JobRule<"StepDue"> = {
  name: "archiveDue",
  says: "The backoff is over: the command is sent again.",
  to: [],
  run: resendArchive(["waiting"]),
};

export const archiveOverdue: JobRule<"StepOverdue"> = {
  name: "archiveOverdue",
  says: "No sign of life: the command is sent again; failed once those who began it have fallen silent too often.",
  to: ["failed"],
  run: resendArchive(["queued", "running"]),
};

export const retryArchive: JobRule<"RetryRequested"> = {
  name: "retryArchive",
  says: "An operator asks: the original is looked for at once.",
  to: [],
  run(draft, job) {
    startArchive(draft, job);
    return "applied";
  },
};
