/**
 * Runner protocol: the queues' messages by `POST /v1/runner/messages/pull`, `…/ack` and `…/retry`; frames on
 * `GET /v1/runner/jobs/{jobId}?asset={fileId}` (WebSocket) and the two POSTs beside it.
 * Runner: claim or resume → granted → probed → ladder → uploaded per rendition → the object says done.
 * Every runner frame carries `seq`; the object answers `ok` or `refused` with that seq, so a frame lost with a socket is
 * sent again after `resume` and means the same twice.
 */
import { z } from "zod";
import { PartDigest, Sha256Hex } from "./checksum.ts";
import { FailureCode } from "./failure.ts";
import { Etag, FileId, JobId, ReadBytes, SizeBytes, Token } from "./id.ts";
import { LadderPolicy, Quality, RenditionPlan } from "./ladder.ts";
import { SourceProbe } from "./media-probe.ts";

const seq = z.int().nonnegative();
const lease = Token;
/**
 * Bytes that the store has sent of the original under this lease so far, retries included: its egress. Rises from frame
 * to frame. Runners that do not count leave it out.
 */
const sourceBytes = ReadBytes.optional();

export const RunnerId = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, "must be 1–64 characters of A–Z a–z 0–9 . _ -");

export const RenditionProgress = z.object({
  quality: Quality,
  percent: z.number().min(0).max(100),
  uploadedBytes: SizeBytes,
});

export const RunnerFrame = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("claim"),
    seq,
    generation: z.int().positive(),
    runnerId: RunnerId,
    encoder: z.string().max(64),
    capabilities: z.object({ ffmpegVersion: z.string().max(128), encoderReason: z.string().max(500) }),
  }),
  /** After a dropped socket: go on under the same lease. */
  z.object({ type: z.literal("resume"), seq, lease, sourceBytes }),
  z.object({ type: z.literal("heartbeat"), seq, lease, sourceBytes }),
  z.object({
    type: z.literal("progress"),
    seq,
    lease,
    percent: z.number().min(0).max(100),
    fps: z.number().nonnegative(),
    speed: z.number().nonnegative(),
    etaSeconds: z.number().nonnegative().nullable(),
    renditions: z.array(RenditionProgress).max(8),
    sourceBytes,
  }),
  z.object({ type: z.literal("probed"), seq, lease, source: SourceProbe }),
  z.object({
    type: z.literal("uploaded"),
    seq,
    lease,
    quality: Quality,
    width: z.int().positive(),
    height: z.int().positive(),
    frames: z.int().positive(),
    durationSeconds: z.number().positive(),
    sizeBytes: SizeBytes,
    partSizeBytes: SizeBytes,
    composite: Sha256Hex,
    parts: z.array(PartDigest).min(1).max(10_000),
    sourceBytes,
  }),
  z.object({
    type: z.literal("failed"),
    seq,
    lease,
    code: FailureCode,
    message: z.string().max(2_000),
    retryable: z.boolean(),
    sourceBytes,
  }),
  /** SIGTERM: give the job back so that another runner starts at once. */
  z.object({ type: z.literal("release"), seq, lease, reason: z.string().max(500), sourceBytes }),
]);
export type RunnerFrame = z.infer<typeof RunnerFrame>;

export const RunnerRefusal = z.enum([
  "stale",
  "taken",
  "finished",
  "failed",
  "cancelled",
  "deleted",
  "unknown",
  "not-ready",
]);
export type RunnerRefusal = z.infer<typeof RunnerRefusal>;

export const SourceGrant = z.object({
  url: z.url(),
  expiresAt: z.iso.datetime(),
  sizeBytes: SizeBytes,
  etag: Etag,
});
export type SourceGrant = z.infer<typeof SourceGrant>;

export const ObjectFrame = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("granted"),
    seq,
    lease,
    leaseMs: z.int().positive(),
    generation: z.int().positive(),
    source: SourceGrant,
    ladder: LadderPolicy,
    /** Already archived in this job: not to be encoded again. */
    archived: z.array(Quality),
  }),
  z.object({ type: z.literal("ladder"), seq, renditions: z.array(RenditionPlan) }),
  z.object({ type: z.literal("ok"), seq }),
  z.object({ type: z.literal("refused"), seq, reason: RunnerRefusal, message: z.string() }),
  /** Kill the encode now; the lease is gone. */
  z.object({ type: z.literal("cancel"), reason: RunnerRefusal, message: z.string() }),
]);
export type ObjectFrame = z.infer<typeof ObjectFrame>;

/** The transcode queue's message, as the runner reads it. */
export const TranscodeMessage = z.object({
  type: z.literal("EnqueueTranscode"),
  id: z.string(),
  fileId: FileId,
  jobId: JobId,
  generation: z.int().positive(),
  priority: z.int().min(0).max(100),
});
export type TranscodeMessage = z.infer<typeof TranscodeMessage>;

/** The queues that runners take jobs from, in the order in which they are emptied. */
export const PulledQueue = z.enum(["transcode-rush", "transcode"]);
export type PulledQueue = z.infer<typeof PulledQueue>;

const leaseId = z.string().regex(/^[\w.~+/=:-]{1,4096}$/, "must be the leaseId of a pulled message");

/** A request that waits longer may be cut by what lies in between. */
export const longestPullWaitSeconds = 25;

/** POST /v1/runner/messages/pull */
export const PullRequest = z.strictObject({
  /** How long the answer may wait for a message. 0: both queues are looked at once. */
  waitSeconds: z.int().min(0).max(longestPullWaitSeconds).default(longestPullWaitSeconds),
  /** Jobs of the rush queue alone. */
  rushOnly: z.boolean().default(false),
});
export type PullRequest = z.infer<typeof PullRequest>;

export const PulledMessage = z.object({
  queue: PulledQueue,
  leaseId,
  /** Deliveries so far, this one included. */
  attempts: z.int().nonnegative(),
  /** As it was sent: fields that this version does not know are kept. */
  message: TranscodeMessage.loose(),
});
export type PulledMessage = z.infer<typeof PulledMessage>;

/** null: no message came in that time. */
export const PullAnswer = z.object({ pulled: PulledMessage.nullable() });
export type PullAnswer = z.infer<typeof PullAnswer>;

/** POST /v1/runner/messages/ack */
export const AckRequest = z.strictObject({ queue: PulledQueue, leaseId });

/** POST /v1/runner/messages/retry */
export const RetryRequest = z.strictObject({
  queue: PulledQueue,
  leaseId,
  delaySeconds: z.int().min(0).max(86_400).default(0),
});

/** The queue takes late and repeated ones, so that this says only that it was asked. */
export const SettleAnswer = z.object({});

/** POST /v1/runner/jobs/{jobId}/parts?asset={fileId} */
export const PartRequest = z.strictObject({
  lease,
  quality: Quality,
  partSizeBytes: z
    .int()
    .min(5 * 1024 ** 2)
    .max(512 * 1024 ** 2),
  /** Part numbers wanted, a few ahead. */
  numbers: z.array(z.int().min(1).max(10_000)).min(1).max(16),
});
export type PartRequest = z.infer<typeof PartRequest>;

export const PartGrant = z.object({
  parts: z.array(z.object({ n: z.int().positive(), url: z.url() })),
  expiresAt: z.iso.datetime(),
});
export type PartGrant = z.infer<typeof PartGrant>;

/** POST /v1/runner/jobs/{jobId}/source?asset={fileId} → SourceGrant */
export const SourceRequest = z.strictObject({ lease });
