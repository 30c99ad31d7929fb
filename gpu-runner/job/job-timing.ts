/** Every timeout and limit of a job, in one place: production's, which tests shorten. */
import type { JobApiOptions } from "./job-api.ts";
import type { JobSocketOptions } from "./job-socket.ts";
import type { PartUploadOptions } from "./part-upload.ts";

export type JobTiming = {
  socket: Pick<JobSocketOptions, "handshakeTimeoutMs" | "answerTimeoutMs" | "pingMs" | "backoff">;
  api: Pick<JobApiOptions, "timeoutMs" | "attempts" | "backoff">;
  parts: Pick<PartUploadOptions, "maxInFlight" | "urlsAhead" | "attempts" | "backoff" | "timeoutMs">;
  /** How long a shutdown waits for the object to take the job back. */
  releaseMs: number;
};

/** Slower than this, a part counts as stuck and is sent again. */
const slowestBytesPerSecond = 128 * 1024;

export const jobTiming: JobTiming = {
  socket: {
    handshakeTimeoutMs: 10_000,
    answerTimeoutMs: 10_000,
    pingMs: 10_000,
    backoff: { baseMs: 250, maxMs: 5_000 },
  },
  api: { timeoutMs: 15_000, attempts: 8, backoff: { baseMs: 500, maxMs: 10_000 } },
  parts: {
    maxInFlight: 2,
    urlsAhead: 4,
    attempts: 8,
    backoff: { baseMs: 500, maxMs: 15_000 },
    timeoutMs: (sizeBytes) => 30_000 + (sizeBytes / slowestBytesPerSecond) * 1_000,
  },
  releaseMs: 2_000,
};
