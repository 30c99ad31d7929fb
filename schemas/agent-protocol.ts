/**
 * What the worker and lucid-agent say to each other: the agent's REST bodies, and the callback it signs (Standard
 * Webhooks) when a transfer is durable, has failed, or needs a fresh source URL. Keys are relative to the root.
 */
import { z } from "zod";
import { CompositeSha256 } from "./checksum.ts";
import { FailureCode } from "./failure.ts";
import { Etag, FileId, FileSizeBytes, HttpUrl, SizeBytes } from "./id.ts";
import { EditorKey } from "./key.ts";
import { Quality } from "./ladder.ts";

/** Chosen by whoever asks, so that asking twice is one transfer. `transferId` below is the worker's choice. */
export const TransferId = z
  .string()
  .regex(/^[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,127}$/, "must be 1–128 characters of A–Z a–z 0–9 _ - . :");
export type TransferId = z.infer<typeof TransferId>;

/** One transfer for each intent to place a rendition: the same intent sent again is the same transfer. */
export function transferId(copy: { fileId: string; quality: string; op: number }): TransferId {
  return TransferId.parse(`${copy.fileId}_${copy.quality}_${copy.op}`);
}

export const PlaceCallback = z.strictObject({
  url: HttpUrl.max(2048),
  fileId: FileId,
  quality: Quality,
  /** Fencing number: a key obeys the highest it has seen. */
  op: z.int().positive(),
  commandId: z.string().min(1).max(200),
});
export type PlaceCallback = z.infer<typeof PlaceCallback>;

/**
 * Body of `PUT /v1/transfers/{id}`. Key, ETag, size and checksum are the transfer's identity: a body that differs in
 * them is a conflict, one with a fresh URL resumes a transfer that had stopped.
 */
export const PlaceRequest = z
  .strictObject({
    key: EditorKey,
    source: z.strictObject({ url: HttpUrl.max(8192), etag: Etag.optional() }),
    sizeBytes: FileSizeBytes,
    sha256: CompositeSha256,
    callback: PlaceCallback,
  })
  .refine((place) => place.sha256.parts === Math.ceil(place.sizeBytes / place.sha256.partSizeBytes), {
    path: ["sha256", "parts"],
    message: "must be the number of parts that sizeBytes makes",
  });
export type PlaceRequest = z.infer<typeof PlaceRequest>;

export const AgentProblemCode = FailureCode.extract([
  "LUCIDLINK_NOT_MOUNTED",
  "LUCIDLINK_FULL",
  "LUCIDLINK_UNAVAILABLE",
  "SIZE_MISMATCH",
  "CHECKSUM_MISMATCH",
  "ETAG_MISMATCH",
  "SOURCE_UNREADABLE",
  "SOURCE_EXPIRED",
  "PATH_REFUSED",
]);
export type AgentProblemCode = z.infer<typeof AgentProblemCode>;

export const AgentProblem = z.object({ code: AgentProblemCode, message: z.string(), retryable: z.boolean() });
export type AgentProblem = z.infer<typeof AgentProblem>;

/** `uploading`: whole and verified in the tree, not yet safe in LucidLink's storage. */
export const TransferStatus = z.enum(["queued", "copying", "uploading", "durable", "failed"]);
export type TransferStatus = z.infer<typeof TransferStatus>;

export const Transfer = z.object({
  id: TransferId,
  key: EditorKey,
  status: TransferStatus,
  bytesWritten: SizeBytes,
  sizeBytes: SizeBytes,
  /** Composite SHA-256 of the bytes, as asked for; proven once `uploading`. */
  sha256: CompositeSha256.shape.composite,
  op: z.int().positive(),
  problem: AgentProblem.nullable(),
  updatedAt: z.iso.datetime(),
});
export type Transfer = z.infer<typeof Transfer>;

export const TransferPage = z.object({ transfers: z.array(Transfer), cursor: z.string().nullable() });
export type TransferPage = z.infer<typeof TransferPage>;

export const TransferQuery = z.strictObject({
  status: TransferStatus.optional(),
  cursor: TransferId.optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
});
export type TransferQuery = z.infer<typeof TransferQuery>;

/** `archive` moves the file below Archives/, `delete` removes it for good. */
export const RemoveMode = z.enum(["archive", "delete"]);
export type RemoveMode = z.infer<typeof RemoveMode>;

/** Query of `DELETE /v1/files`. With `op`, a removal older than the newest placement of that key is a conflict. */
export const RemoveRequest = z.strictObject({
  key: EditorKey,
  mode: RemoveMode,
  op: z.coerce.number().int().positive().optional(),
});
export type RemoveRequest = z.infer<typeof RemoveRequest>;

/** `removed` is false when there was nothing (any more): that is success too. */
export const RemoveResult = z.object({
  key: EditorKey,
  mode: RemoveMode,
  removed: z.boolean(),
  archivedKey: z.string().nullable(),
});
export type RemoveResult = z.infer<typeof RemoveResult>;

export const FileQuery = z.strictObject({
  /** Keys that start so; a folder ends in `/`. */
  prefix: z.string().max(1024).default(""),
  /** The last key of the page before. */
  cursor: z.string().max(1024).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(1000),
});
export type FileQuery = z.infer<typeof FileQuery>;

export const FileEntry = z.object({ key: z.string(), sizeBytes: SizeBytes, modifiedAt: z.iso.datetime() });
export type FileEntry = z.infer<typeof FileEntry>;

export const FilePage = z.object({ files: z.array(FileEntry), cursor: z.string().nullable() });
export type FilePage = z.infer<typeof FilePage>;

/** Answer of `GET /healthz`; `degraded` comes with 503. Sizes are null while the root cannot be read. */
export const AgentHealth = z.object({
  status: z.enum(["ok", "degraded"]),
  mounted: z.boolean(),
  freeBytes: z.number().nullable(),
  totalBytes: z.number().nullable(),
  floorBytes: SizeBytes,
  transfers: z.record(TransferStatus, z.int().nonnegative()),
  pendingCallbacks: z.int().nonnegative(),
  uptimeSeconds: z.number().nonnegative(),
});
export type AgentHealth = z.infer<typeof AgentHealth>;

export const AgentCallbackType = z.enum(["transfer.durable", "transfer.failed", "transfer.source-expired"]);
export type AgentCallbackType = z.infer<typeof AgentCallbackType>;

/** Body of `POST /v1/agent/callback`. `problem` is null for `transfer.durable` alone. */
export const AgentCallback = z.object({
  type: AgentCallbackType,
  timestamp: z.iso.datetime(),
  data: z.object({
    transferId: TransferId,
    fileId: FileId,
    quality: Quality,
    op: z.int().positive(),
    commandId: z.string().min(1).max(200),
    key: EditorKey,
    sizeBytes: SizeBytes,
    sha256: CompositeSha256.shape.composite,
    problem: AgentProblem.nullable(),
  }),
});
export type AgentCallback = z.infer<typeof AgentCallback>;
