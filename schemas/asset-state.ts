/**
 * The Asset object's stored state, versioned. Times are epoch milliseconds. The machines read and write it; the public
 * Asset is projected from it. Old versions are lifted by `loadAssetState`.
 */
import { z } from "zod";
import { CopyStatus, RenditionStatus } from "./asset.ts";
import { CompositeSha256, Sha256Hex } from "./checksum.ts";
import { AppEventType } from "./command.ts";
import { FailureCode, OriginalLossCode } from "./failure.ts";
import { CopyTier, Etag, FileId, FileName, JobId, ReadBytes, SizeBytes, Slug, Token } from "./id.ts";
import { OriginalKey, ProxyKey } from "./key.ts";
import { Quality, RenditionPlan } from "./ladder.ts";
import { SourceProbe } from "./media-probe.ts";
import { Transfer } from "./transfer.ts";

const AtMs = z.int().nonnegative();

/** A failure that a step carries until it succeeds. */
export const StepProblem = z.object({
  code: FailureCode,
  message: z.string(),
  sinceAtMs: AtMs,
  retryable: z.boolean(),
});
export type StepProblem = z.infer<typeof StepProblem>;

/** How the present command of a step stands. Exactly one of its deadlines is armed while a step is open. */
export const Step = z.object({
  /** Fencing number: raised at every new intent, kept when the same command is sent again. */
  op: z.int().nonnegative(),
  /** `idle`: nothing asked · `queued`: sent, nobody has begun · `running`: somebody works on it · `waiting`: backoff. */
  phase: z.enum(["idle", "queued", "running", "waiting"]),
  /** Failures in a row that count against the step's tries. */
  failures: z.int().nonnegative(),
  /** Deferrals in a row, which only lengthen the backoff. */
  deferrals: z.int().nonnegative(),
  /** Uploads of the present intent that had to be given up for a new one. Parts that get through do not wipe these out. */
  restarts: z.int().nonnegative().default(0),
  /** Times the present command was sent without a sign of life. */
  sends: z.int().nonnegative(),
  /** When to act next (backoff over, or watchdog); null when idle. */
  deadlineAtMs: AtMs.nullable(),
  problem: StepProblem.nullable(),
  /** The upload under way, of an object that moves in parts. Documents written before there were any have none. */
  transfer: Transfer.nullable().default(null),
});
export type Step = z.infer<typeof Step>;

export const JobState = z.enum([
  "received",
  "archived",
  "transcoding",
  "encoded",
  "failed",
  "cancelled",
  "deleting",
  "deleted",
]);
export type JobState = z.infer<typeof JobState>;

/** What a lease's holder has read of the original, by its own count. */
const SourceRead = z.object({
  toldBytes: ReadBytes,
  toldAtMs: AtMs,
  /** Of them, what the ledger of egress has been told. */
  countedBytes: ReadBytes,
});

export const Lease = z.object({
  token: Token,
  runnerId: z.string(),
  encoder: z.string(),
  /** The holder has probed the original, so that the ladder under this lease is planned. */
  probed: z.boolean(),
  expiresAtMs: AtMs,
  /** Documents written before reads were counted have none. */
  read: SourceRead.default({ toldBytes: 0, toldAtMs: 0, countedBytes: 0 }),
});
export type Lease = z.infer<typeof Lease>;

export const TranscodeFailure = z.object({ runnerId: z.string(), code: FailureCode, message: z.string(), atMs: AtMs });
export type TranscodeFailure = z.infer<typeof TranscodeFailure>;

export const Job = z.object({
  state: JobState,
  /** Where an undelete returns to. */
  stateBeforeDelete: JobState.nullable(),
  jobId: JobId.nullable(),
  /** Raised at every lease or job that ends without success; a claim must name it. */
  generation: z.int().nonnegative(),
  priority: z.int().min(0).max(100),
  lease: Lease.nullable(),
  /** Failed attempts of the present job, newest last, for telling a poison asset from a bad runner. */
  transcodeFailures: z.array(TranscodeFailure).max(32),
  archive: Step,
  transcode: Step,
  graceEndsAtMs: AtMs.nullable(),
});
export type Job = z.infer<typeof Job>;

/** A rendition is stored in the states that people see. */
export const RenditionState = RenditionStatus;
export type RenditionState = z.infer<typeof RenditionState>;

/** A copy, too. */
export const CopyState = CopyStatus;
export type CopyState = z.infer<typeof CopyState>;

/** Why a copy is there: the placement policy, a viewer who asked for it, or an operator. */
export const CopyReason = z.enum(["policy", "viewer", "operator"]);
export type CopyReason = z.infer<typeof CopyReason>;

export const StoredCopy = z.object({
  tier: CopyTier,
  /** Whose bytes it holds: on R2 the job is part of the key, and a rendition that is encoded again gets a new one. */
  jobId: JobId,
  state: CopyState,
  /** Asked for by a viewer or an operator while it was being removed: placed again once that is over. */
  wantedAgain: z.boolean(),
  step: Step,
  sizeBytes: SizeBytes.nullable(),
  etag: Etag.nullable(),
  placedAtMs: AtMs.nullable(),
  verifiedAtMs: AtMs.nullable(),
  lastAccessAtMs: AtMs.nullable(),
  pinnedUntilMs: AtMs.nullable(),
  /** Who wanted it last. Documents written before this was known have none. */
  reason: CopyReason.default("policy"),
});
export type StoredCopy = z.infer<typeof StoredCopy>;

export const StoredRendition = z.object({
  quality: Quality,
  state: RenditionState,
  jobId: JobId,
  plan: RenditionPlan,
  upload: z.object({ key: ProxyKey, uploadId: z.string(), partSizeBytes: z.int() }).nullable(),
  step: Step,
  width: z.int().nullable(),
  height: z.int().nullable(),
  frames: z.int().nullable(),
  durationSeconds: z.number().nullable(),
  sizeBytes: SizeBytes.nullable(),
  sha256: CompositeSha256.nullable(),
  etag: Etag.nullable(),
  verifiedAtMs: AtMs.nullable(),
  copies: z.array(StoredCopy),
});
export type StoredRendition = z.infer<typeof StoredRendition>;

const OriginalLoss = z.object({ code: OriginalLossCode, message: z.string(), sinceAtMs: AtMs });

/** As it was declared. A document written before keys were checked for their encoding must load too. */
const StoredSource = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("wasabi"), key: z.string() }),
  z.strictObject({ kind: z.literal("url"), url: z.string() }),
]);

export const AssetStateV1 = z.object({
  version: z.literal(1),
  fileId: FileId,
  clientName: Slug,
  projectName: Slug,
  fileName: FileName,
  sizeBytes: SizeBytes,
  sha256: Sha256Hex.nullable(),
  upload: StoredSource,
  createdAtMs: AtMs,
  updatedAtMs: AtMs,
  job: Job,
  original: z
    .object({
      key: OriginalKey,
      sizeBytes: SizeBytes,
      etag: Etag,
      sha256: CompositeSha256.nullable(),
      verifiedAtMs: AtMs,
      /** It was deleted or replaced since. Absent, not null: the release before writes back only the fields it knows. */
      loss: OriginalLoss.optional(),
    })
    .nullable(),
  source: SourceProbe.nullable(),
  renditions: z.array(StoredRendition),
  /** The last phase that the application was told of, so that each is told once. */
  announced: AppEventType.nullable(),
  /** No proxy of the asset leaves R2 by itself before this. Documents written before there were pins have none. */
  pinnedUntilMs: AtMs.nullable().default(null),
});

export const StoredAsset = AssetStateV1;
export type StoredAsset = z.infer<typeof StoredAsset>;

/** @throws ZodError when the stored text is of no known version: better to stop than to guess about originals. */
export function loadAssetState(json: string): StoredAsset {
  return StoredAsset.parse(JSON.parse(json));
}
