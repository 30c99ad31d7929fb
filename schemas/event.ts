/**
 * Events: facts that reach the Asset object, past tense. Each arrives in an envelope with an idempotency key and who said
 * it; the object stamps time and one fresh id. Facts about a step carry the `op` they answer, facts from a runner the
 * lease they were made under, so that late and stale ones are told apart.
 */
import { z } from "zod";
import { CompositeSha256, PartNumber, Sha256Hex } from "./checksum.ts";
import { FailureCode, OriginalLossCode } from "./failure.ts";
import {
  CopyTier,
  Etag,
  FileId,
  FileName,
  FileSizeBytes,
  HttpUrl,
  JobId,
  ReadBytes,
  SizeBytes,
  Slug,
  StorageKey,
  Token,
} from "./id.ts";
import { OriginalKey, ProxyKey } from "./key.ts";
import { Quality } from "./ladder.ts";
import { SourceProbe } from "./media-probe.ts";
import { RetentionTerms } from "./retention.ts";
import { StepRef } from "./step.ts";
import { MovedPart, mostPartsPerMessage, Sha256Midstate, TransferPlan, UploadId } from "./transfer.ts";

export const UploadSource = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("wasabi"), key: StorageKey }),
  z.strictObject({ kind: z.literal("url"), url: HttpUrl.max(4096) }),
]);
export type UploadSource = z.infer<typeof UploadSource>;

/** 0–100, higher first. */
export const Priority = z.int().min(0).max(100);

/** What an upload webhook declares about a file. */
export const UploadDeclaration = z.strictObject({
  fileId: FileId,
  clientName: Slug,
  projectName: Slug,
  fileName: FileName,
  sizeBytes: FileSizeBytes,
  sha256: Sha256Hex.optional(),
  /** Editors' rush jobs go first. */
  priority: Priority.optional(),
  source: UploadSource,
});
export type UploadDeclaration = z.infer<typeof UploadDeclaration>;

const op = z.int().positive();
const lease = Token;
/** Read from the original under this lease so far. */
const sourceBytes = ReadBytes.optional();
const message = z.string().max(2_000);
const stepFact = { step: StepRef, op };
const copyFact = { tier: CopyTier, quality: Quality, jobId: JobId, op };

export const AssetEvent = z.discriminatedUnion("type", [
  z.object({ type: z.literal("UploadNoticed"), upload: UploadDeclaration }),
  z.object({
    type: z.literal("OriginalArchived"),
    op,
    key: OriginalKey,
    sizeBytes: SizeBytes,
    etag: Etag,
    sha256: CompositeSha256.nullable(),
  }),

  /** The original of this ETag, verified once, is not at its key any more: S3 itself says so. */
  z.object({ type: z.literal("OriginalLost"), etag: Etag, code: OriginalLossCode, message }),
  /** It is there, whole. */
  z.object({ type: z.literal("OriginalFound"), etag: Etag }),

  z.object({
    type: z.literal("TranscodeClaimed"),
    generation: z.int().positive(),
    runnerId: z.string(),
    encoder: z.string(),
  }),
  z.object({ type: z.literal("LeaseRenewed"), lease, sourceBytes }),
  z.object({ type: z.literal("SourceProbed"), lease, source: SourceProbe }),
  z.object({
    type: z.literal("UploadOpened"),
    lease,
    quality: Quality,
    key: ProxyKey,
    uploadId: z.string(),
    partSizeBytes: z.int(),
  }),
  z.object({
    type: z.literal("RenditionUploaded"),
    lease,
    quality: Quality,
    width: z.int(),
    height: z.int(),
    frames: z.int(),
    durationSeconds: z.number(),
    sizeBytes: SizeBytes,
    sha256: CompositeSha256,
    sourceBytes,
  }),
  z.object({
    type: z.literal("TranscodeFailed"),
    lease,
    code: FailureCode,
    message,
    retryable: z.boolean(),
    sourceBytes,
  }),
  z.object({ type: z.literal("LeaseReleased"), lease, reason: z.string(), sourceBytes }),
  z.object({ type: z.literal("LeaseExpired"), generation: z.int().positive() }),

  z.object({
    type: z.literal("RenditionArchived"),
    quality: Quality,
    jobId: JobId,
    op,
    etag: Etag,
    sizeBytes: SizeBytes,
  }),
  z.object({ type: z.literal("ArchiveLost"), quality: Quality, jobId: JobId, message }),

  z.object({
    type: z.literal("CopyPlaced"),
    ...copyFact,
    sizeBytes: SizeBytes,
    etag: Etag.nullable(),
    sha256: CompositeSha256,
  }),
  z.object({ type: z.literal("CopyRemoved"), ...copyFact }),
  /** A removal was not carried out: the copy's project has been pinned since, and the copy is there whole. */
  z.object({
    type: z.literal("RemovalCalledOff"),
    ...copyFact,
    sizeBytes: SizeBytes,
    etag: Etag.nullable(),
    sha256: CompositeSha256,
  }),
  /** A viewer asked for a rendition that R2 does not hold. */
  z.object({ type: z.literal("ProxyRequested"), quality: Quality, jobId: JobId }),
  z.object({ type: z.literal("ProxyAccessed"), tier: CopyTier, quality: Quality, jobId: JobId }),
  /** The sweep found it due under these terms; without any, the deployment's own setting holds. */
  z.object({ type: z.literal("RetentionElapsed"), quality: Quality, terms: RetentionTerms.optional() }),
  /** An operator wants a proxy off R2 now, or on it, and there until a time. */
  z.object({
    type: z.literal("EvictionRequested"),
    quality: Quality,
    /** Until when its project is pinned; the asset knows its own pins. */
    projectPinMs: z.int().nonnegative().nullable().optional(),
  }),
  z.object({
    type: z.literal("PromotionRequested"),
    quality: Quality,
    pinnedUntilMs: z.int().nonnegative().nullable(),
  }),
  /** Null lifts the asset's pin, and those of its copies. */
  z.object({ type: z.literal("PinChanged"), untilMs: z.int().nonnegative().nullable() }),

  /** A consumer or an agent works on it; repeated while it does. */
  z.object({ type: z.literal("StepBegan"), ...stepFact }),
  z.object({
    type: z.literal("StepDeferred"),
    ...stepFact,
    code: FailureCode,
    message,
    retryAfterMs: z.int().nonnegative().nullable(),
    /** Of a transfer's message: those of its parts that did not move. */
    parts: z.array(PartNumber).max(mostPartsPerMessage).optional(),
    /** The open transfer cannot be completed any more: its upload is lost, or its source is another one now. */
    startOver: z.boolean().optional(),
  }),
  z.object({ type: z.literal("StepFailed"), ...stepFact, code: FailureCode, message }),
  /** A consumer has opened an upload for an object that moves in parts. The first one recorded wins. */
  z.object({ type: z.literal("TransferOpened"), ...stepFact, plan: TransferPlan }),
  /** Parts of an open transfer lie in its upload, each proven. */
  z.object({
    type: z.literal("PartsMoved"),
    ...stepFact,
    uploadId: UploadId,
    parts: z.array(MovedPart).min(1).max(mostPartsPerMessage),
    midstate: Sha256Midstate.nullable(),
  }),
  /** Timer: the step's backoff has passed. */
  z.object({ type: z.literal("StepDue"), ...stepFact }),
  /** Timer: the step gave no sign in its time. */
  z.object({ type: z.literal("StepOverdue"), ...stepFact }),

  z.object({ type: z.literal("RetryRequested") }),
  z.object({ type: z.literal("PriorityChanged"), priority: Priority }),
  z.object({ type: z.literal("CancelRequested") }),
  z.object({ type: z.literal("DeleteRequested") }),
  z.object({ type: z.literal("UndeleteRequested") }),
  z.object({ type: z.literal("GraceElapsed") }),
]);
export type AssetEvent = z.infer<typeof AssetEvent>;
export type EventOf<Type extends AssetEvent["type"]> = Extract<AssetEvent, { type: Type }>;

/** What is handed to the object's one door. `key` is null for facts that are harmless to repeat (renewals). */
export const EventEnvelope = z.object({
  key: z.string().min(1).max(300).nullable(),
  /** api · webhook:{kid}:{id} · archive-consumer · runner:{id} · timer · admin:{sub} … */
  by: z.string().min(1).max(300),
  /** The delivery that tells it, as it named itself when it claimed its key: only the holder's report frees the key. */
  holder: z.string().min(1).max(200).optional(),
  event: AssetEvent,
});
export type EventEnvelope = z.infer<typeof EventEnvelope>;

/** What the object adds: the time of the decision, and fresh randomness for job ids, leases and jitter. */
export const Stamp = z.object({
  atMs: z.int().nonnegative(),
  /** 24 lower-case hex digits. */
  newId: JobId,
  token: Token,
  /** Fraction in [0, 1) for jitter. */
  jitter: z.number().min(0).lt(1),
});
export type Stamp = z.infer<typeof Stamp>;
