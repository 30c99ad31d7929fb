/** What the runner is doing and has done since it started: the one place that health, metrics and the terminal read. */
import type { TranscodeMessage } from "../schemas/runner-protocol.ts";
import type { JobOutcome, JobWatch } from "./job/run-job.ts";
import type { EncodeCounts } from "./media/encode-job.ts";
import type { EncodeProgress } from "./media/encode-progress.ts";

export type RunningJob = {
  fileId: string;
  jobId: string;
  startedAtMs: number;
  /** null until the claim is granted. */
  lease: { leaseMs: number; sinceRenewalMs: () => number } | null;
  /** null until pictures come out. */
  progress: EncodeProgress | null;
  counts: EncodeCounts;
  storedBytes: number;
};

export type RunnerTotals = {
  outcomes: Record<JobOutcome["type"], number>;
  failuresByCode: Map<string, number>;
  sourceBytes: number;
  storedBytes: number;
  sourceRetries: number;
  partRetries: number;
  freshUrls: number;
  ffmpegStarts: number;
  /** Runs after a job's first: another batch, another encoder, larger tables. */
  ffmpegRestarts: number;
};

export type JobBoard = {
  running: () => readonly RunningJob[];
  /** Those of the running jobs included. */
  totals: () => Readonly<RunnerTotals>;
  /** @returns what to give to the job, and what to call when it is over */
  open(message: Pick<TranscodeMessage, "fileId" | "jobId">): { watch: JobWatch; close: () => void };
  ended(outcome: JobOutcome): void;
};

const noCounts: EncodeCounts = { sourceBytes: 0, sourceRetries: 0, freshUrls: 0, ffmpegRuns: 0 };

/** `nowMs`: monotonic. */
export function createJobBoard(nowMs: () => number): JobBoard {
  const jobs = new Set<RunningJob>();
  const past: RunnerTotals = {
    outcomes: { done: 0, failed: 0, refused: 0, unreachable: 0, "token-refused": 0, lost: 0, released: 0 },
    failuresByCode: new Map(),
    sourceBytes: 0,
    storedBytes: 0,
    sourceRetries: 0,
    partRetries: 0,
    freshUrls: 0,
    ffmpegStarts: 0,
    ffmpegRestarts: 0,
  };

  function open({ fileId, jobId }: Pick<TranscodeMessage, "fileId" | "jobId">) {
    const startedAtMs = nowMs();
    const job: RunningJob = {
      fileId,
      jobId,
      startedAtMs,
      lease: null,
      progress: null,
      counts: noCounts,
      storedBytes: 0,
    };
    jobs.add(job);
    const watch: JobWatch = {
      granted: (lease) => {
        job.lease = lease;
      },
      progress: (progress) => {
        job.progress = progress;
      },
      counts: (counts) => {
        job.counts = counts;
      },
      part: (fact) => {
        if (fact.type === "stored") job.storedBytes += fact.sizeBytes;
        else past.partRetries++;
      },
    };
    return {
      watch,
      close: () => {
        if (jobs.delete(job)) addJob(past, job);
      },
    };
  }

  return {
    open,
    running: () => [...jobs],
    totals: () => {
      const sum = { ...past };
      for (const job of jobs) addJob(sum, job);
      return sum;
    },
    ended: (outcome) => {
      past.outcomes[outcome.type]++;
      if (outcome.type !== "failed") return;
      past.failuresByCode.set(outcome.code, (past.failuresByCode.get(outcome.code) ?? 0) + 1);
    },
  };
}

function addJob(totals: RunnerTotals, { counts, storedBytes }: RunningJob): void {
  totals.sourceBytes += counts.sourceBytes;
  totals.sourceRetries += counts.sourceRetries;
  totals.freshUrls += counts.freshUrls;
  totals.ffmpegStarts += counts.ffmpegRuns;
  totals.ffmpegRestarts += Math.max(0, counts.ffmpegRuns - 1);
  totals.storedBytes += storedBytes;
}
