/** Rules of the job machine: from an archived original to a whole ladder, and the ends an operator may choose. */
import type { Job, JobState } from "../../schemas/asset-state.ts";
import { queueOf } from "../../schemas/command.ts";
import type { EventOf } from "../../schemas/event.ts";
import { type FailureCode, failureFacts } from "../../schemas/failure.ts";
import { failJob, startArchive } from "./archive-rule.ts";
import type { Draft, Rule, Verdict } from "./rule.ts";
import * as clock from "./step-clock.ts";
import type { JobEvent } from "./subject.ts";
import { judgeFailures } from "./transcode-failure.ts";

type Of<Type extends JobEvent["type"]> = Extract<JobEvent, { type: Type }>;

type JobRule<Type extends JobEvent["type"]> = Rule<JobState, Job, Of<Type>>;

function announceJob({ effects }: Draft, job: Job): void {
  if (job.jobId === null) throw new Error("a job without an id cannot be announced");
  effects.push({ type: "EnqueueTranscode", jobId: job.jobId, generation: job.generation, priority: job.priority });
}

/** Offers the job to runners under a new generation, so that facts and claims of the old one are stale. */
function offer(draft: Draft, job: Job): void {
  job.state = "archived";
  job.jobId ??= draft.stamp.newId;
  job.generation += 1;
  clock.intend(job.transcode, draft.policy.transcodeWatchdogMs, draft);
  announceJob(draft, job);
}

function endLease(
  { effects }: Draft,
  job: Job,
  reason: "stale" | "cancelled" | "deleted" | "failed",
  message: string,
): void {
  if (job.lease === null) return;
  job.lease = null;
  effects.push({ type: "EndLease", reason, message });
}

/** One more failed attempt: offered again after a backoff, or given up with the true reason. */
function countFailure(
  draft: Draft,
  job: Job,
  runnerId: string,
  code: FailureCode,
  message: string,
  retryable: boolean,
): void {
  job.transcodeFailures = [...job.transcodeFailures, { runnerId, code, message, atMs: draft.stamp.atMs }].slice(-32);
  const verdict = retryable ? judgeFailures(job.transcodeFailures, draft.policy) : { code, message };
  if (verdict !== null) {
    endLease(draft, job, "failed", verdict.message);
    failJob(job);
    clock.failStep(job.transcode, verdict.code, verdict.message, draft);
    return;
  }
  endLease(draft, job, "stale", message);
  job.state = "archived";
  job.generation += 1;
  job.transcode.op += 1;
  clock.defer(job.transcode, { code, message, retryAfterMs: null }, draft.policy.backoff, withoutTries(draft));
}

/** Encode attempts are counted by `judgeFailures`, which knows runners; the step's own count must not cut in. */
function withoutTries(draft: Draft): Draft {
  return { ...draft, policy: { ...draft.policy, stepAttempts: Number.MAX_SAFE_INTEGER } };
}

const holdsLease = (job: Job, lease: string) => job.lease?.token === lease;

/** @returns false for a late or repeated fact */
function noteOriginal({ asset, stamp }: Draft, job: Job, event: EventOf<"OriginalArchived">): boolean {
  if (event.op !== job.archive.op || asset.original !== null) return false;
  const { key, sizeBytes, etag, sha256 } = event;
  asset.original = { key, sizeBytes, etag, sha256, verifiedAtMs: stamp.atMs };
  return true;
}

export const recordOriginal: JobRule<"OriginalArchived"> = {
  name: "recordOriginal",
  says: "The original is verified in Wasabi: the job is offered to runners.",
  to: ["archived"],
  run(draft, job, event) {
    if (!noteOriginal(draft, job, event)) return "ignored";
    clock.succeed(job.archive);
    job.transcodeFailures = [];
    offer(draft, job);
    return "applied";
  },
};

export const grantLease: JobRule<"TranscodeClaimed"> = {
  name: "grantLease",
  says: "A runner claims the present generation: it gets the lease.",
  to: ["transcoding"],
  run(draft, job, event) {
    if (event.generation !== job.generation) return "ignored";
    job.state = "transcoding";
    job.lease = {
      token: draft.stamp.token,
      runnerId: event.runnerId,
      encoder: event.encoder,
      probed: false,
      expiresAtMs: draft.stamp.atMs + draft.policy.leaseMs,
      read: { toldBytes: 0, toldAtMs: 0, countedBytes: 0 },
    };
    clock.close(job.transcode);
    return "applied";
  },
};

export const renewLease: JobRule<"LeaseRenewed"> = {
  name: "renewLease",
  says: "The holder is alive: the lease is extended.",
  to: [],
  run(draft, job, { lease }) {
    if (job.lease?.token !== lease) return "ignored";
    job.lease.expiresAtMs = draft.stamp.atMs + draft.policy.leaseMs;
    return "applied";
  },
};

export const recordSource: JobRule<"SourceProbed"> = {
  name: "recordSource",
  says: "The holder has probed the original: the ladder is planned from what it saw.",
  to: [],
  run(draft, job, { lease, source }) {
    if (job.lease?.token !== lease) return "ignored";
    job.lease.probed = true;
    draft.asset.source = source;
    return "applied";
  },
};

export const endAttempt: JobRule<"TranscodeFailed"> = {
  name: "endAttempt",
  says: "The attempt failed: offered again after a backoff; at once failed when the source is to blame or the tries are used up.",
  to: ["archived", "failed"],
  run(draft, job, { lease, code, message, retryable }) {
    if (!holdsLease(job, lease)) return "ignored";
    const runnerId = job.lease?.runnerId ?? "unknown";
    countFailure(draft, job, runnerId, code, message, retryable && failureFacts[code].retryable);
    return "applied";
  },
};

export const takeBack: JobRule<"LeaseReleased"> = {
  name: "takeBack",
  says: "The runner gives the job back of its own accord: offered again at once, not counted as a failure.",
  to: ["archived"],
  run(draft, job, { lease }) {
    if (!holdsLease(job, lease)) return "ignored";
    job.lease = null;
    offer(draft, job);
    return "applied";
  },
};

export const expireLease: JobRule<"LeaseExpired"> = {
  name: "expireLease",
  says: "The runner fell silent: the lease ends, uploads are aborted, a new generation is offered at once.",
  to: ["archived", "failed"],
  run(draft, job, { generation }) {
    const { lease } = job;
    if (lease === null || generation !== job.generation || lease.expiresAtMs > draft.stamp.atMs) return "ignored";
    const message = `Runner ${lease.runnerId} fell silent.`;
    job.transcodeFailures = [
      ...job.transcodeFailures,
      { runnerId: lease.runnerId, code: "LEASE_LOST" as const, message, atMs: draft.stamp.atMs },
    ].slice(-32);
    endLease(draft, job, "stale", message);
    const verdict = judgeFailures(job.transcodeFailures, draft.policy);
    if (verdict === null) {
      offer(draft, job);
    } else {
      failJob(job);
      clock.failStep(job.transcode, verdict.code, verdict.message, draft);
    }
    return "applied";
  },
};

export const finishJob: JobRule<"LadderArchived"> = {
  name: "finishJob",
  says: "Every rendition is verified in Wasabi.",
  to: ["encoded"],
  run(_draft, job) {
    job.state = "encoded";
    job.lease = null;
    job.transcodeFailures = [];
    clock.succeed(job.transcode);
    return "applied";
  },
};

export const encodeAgain: JobRule<"RenditionLacking"> = {
  name: "encodeAgain",
  says: "A rendition is lacking and nobody encodes it: offered again, counted as a failed attempt; failed at once where no encode would help.",
  to: ["archived", "failed"],
  run(draft, job, { code, message }) {
    // What plays already is worth another encode whatever happened to its archive.
    const mayHelp = job.state === "encoded" || failureFacts[code].retryable;
    countFailure(draft, job, "archive", code, message, mayHelp);
    return "applied";
  },
};

function reannounce(phases: ("queued" | "waiting")[]) {
  return (draft: Draft, job: Job, event: EventOf<"StepDue" | "StepOverdue">): Verdict => {
    if (event.step.kind !== "transcode" || !clock.isDue(job.transcode, event.op, phases, draft)) return "ignored";
    clock.sendAgain(job.transcode, draft.policy.transcodeWatchdogMs, draft);
    announceJob(draft, job);
    return "applied";
  };
}

export const offerDue: JobRule<"StepDue"> = {
  name: "offerDue",
  says: "The backoff is over: the job is offered to runners again.",
  to: [],
  run: reannounce(["waiting"]),
};

export const offerOverdue: JobRule<"StepOverdue"> = {
  name: "offerOverdue",
  says: "No runner has claimed the job: it is announced again, in case the message was lost.",
  to: [],
  run: reannounce(["queued"]),
};

/** A message cannot be moved from one queue to another; whoever finds the old one is told that the job is taken. */
export const reprioritize: JobRule<"PriorityChanged"> = {
  name: "reprioritize",
  says: "An operator changes its priority: a job that waits for a runner is announced on the queue that this leads to.",
  to: [],
  run(draft, job, { priority }) {
    if (priority === job.priority) return "ignored";
    const queue = (of: number) => queueOf({ type: "EnqueueTranscode", priority: of });
    const moves = queue(priority) !== queue(job.priority);
    job.priority = priority;
    if (moves && job.state === "archived" && job.transcode.phase === "queued") announceJob(draft, job);
    return "applied";
  },
};

export const retryOffer: JobRule<"RetryRequested"> = {
  name: "retryOffer",
  says: "An operator asks: the job is offered again at once.",
  to: [],
  run(draft, job) {
    job.transcodeFailures = [];
    offer(draft, job);
    return "applied";
  },
};

function resume(draft: Draft, job: Job): Verdict {
  job.transcodeFailures = [];
  if (draft.asset.original === null) startArchive(draft, job);
  else offer(draft, job);
  return "applied";
}

export const resumeJob: JobRule<"RetryRequested"> = {
  name: "resumeJob",
  says: "An operator asks: the job goes on where it stopped, at the original or at the encode.",
  to: ["received", "archived"],
  run: resume,
};

export const cancelJob: JobRule<"CancelRequested"> = {
  name: "cancelJob",
  says: "An operator stops the job: the runner is told, unfinished uploads are aborted, and what is archived stays.",
  to: ["cancelled"],
  run(draft, job) {
    endLease(draft, job, "cancelled", "The job was cancelled.");
    clock.close(job.archive);
    clock.close(job.transcode);
    // Whatever troubled it before is nobody's trouble any more.
    job.archive.problem = null;
    const stopped = draft.asset.original === null ? job.archive : job.transcode;
    clock.failStep(stopped, "CANCELLED", "An operator cancelled the job. A retry resumes it where it stopped.", draft);
    job.state = "cancelled";
    return "applied";
  },
};

/** Whoever completed it could not be called back: bytes that nobody knew of would be paid for for ever. */
export const keepOriginal: JobRule<"OriginalArchived"> = {
  name: "keepOriginal",
  says: "The original was complete before the cancel reached its consumer: it is recorded, and nothing is offered.",
  to: [],
  run(draft, job, event) {
    if (!noteOriginal(draft, job, event)) return "ignored";
    job.transcode.problem = job.archive.problem;
    clock.succeed(job.archive);
    return "applied";
  },
};

export const beginGrace: JobRule<"DeleteRequested"> = {
  name: "beginGrace",
  says: "An operator deletes the asset: work stops, and until the grace period ends it can be undone.",
  to: ["deleting"],
  run(draft, job) {
    endLease(draft, job, "deleted", "The asset is being deleted.");
    clock.close(job.archive);
    clock.close(job.transcode);
    job.stateBeforeDelete = job.state;
    job.state = "deleting";
    job.graceEndsAtMs = draft.stamp.atMs + draft.policy.deleteGraceMs;
    return "applied";
  },
};

export const undelete: JobRule<"UndeleteRequested"> = {
  name: "undelete",
  says: "An operator undoes the deletion: the job goes on where it stopped.",
  to: ["received", "archived", "encoded", "failed", "cancelled"],
  run(draft, job) {
    const before = job.stateBeforeDelete;
    job.graceEndsAtMs = null;
    job.stateBeforeDelete = null;
    if (before === "encoded" || before === "failed" || before === "cancelled") {
      job.state = before;
      return "applied";
    }
    return resume(draft, job);
  },
};

export const entomb: JobRule<"GraceElapsed"> = {
  name: "entomb",
  says: "The grace period is over: the copies are removed and a tombstone stays.",
  to: ["deleted"],
  run(draft, job) {
    if (job.graceEndsAtMs === null || job.graceEndsAtMs > draft.stamp.atMs) return "ignored";
    job.graceEndsAtMs = null;
    job.state = "deleted";
    return "applied";
  },
};
