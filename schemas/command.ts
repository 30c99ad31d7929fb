/**
 * Commands: what the Asset object asks of the consumers and runners, as queue messages. A command's id is
 * `fileId:revision:index`. `op` is the fencing number of the step's present intent: a consumer whose op is no longer
 * current has nothing to do. A command may arrive twice, late or never. A message is no authority: beside the command it
 * carries `mac`, the object's own proof, and a consumer acts on what the object confirms and on nothing else.
 */
import { z } from "zod";
import { Asset } from "./asset.ts";
import { CompositeSha256, Sha256Hex } from "./checksum.ts";
import { Etag, FileId, JobId, ReadBytes, SizeBytes } from "./id.ts";
import { EdgeKey, EditorKey, OriginalKey, ProxyKey } from "./key.ts";
import { Quality } from "./ladder.ts";
import { TransferStage, UploadId } from "./transfer.ts";

const base = { id: z.string().min(1).max(200), fileId: FileId };
const op = z.int().positive();
/** Commands that copy an object of any size; messages sent before there were stages open. */
const stage = TransferStage.default({ type: "open" });

/** A verified Wasabi object, as the source of copies and the ground for removing them. */
export const ArchivedProxy = z.object({ key: ProxyKey, etag: Etag, sizeBytes: SizeBytes, sha256: CompositeSha256 });
export type ArchivedProxy = z.infer<typeof ArchivedProxy>;

/** The original lies in the bucket: verify it at its canonical key, or copy it there server-side first. */
export const ArchiveOriginal = z.object({
  ...base,
  type: z.literal("ArchiveOriginal"),
  op,
  stage,
  sourceKey: z.string().min(1).max(1024),
  key: OriginalKey,
  sizeBytes: SizeBytes,
  /** Declared by the uploader, over the whole file; null when unknown. */
  sha256: Sha256Hex.nullable(),
});

/** The original lies at a URL: stream it into its canonical key. */
export const IngestOriginal = z.object({
  ...base,
  type: z.literal("IngestOriginal"),
  op,
  stage,
  url: z.url(),
  key: OriginalKey,
  sizeBytes: SizeBytes,
  sha256: Sha256Hex.nullable(),
});

export const EnqueueTranscode = z.object({
  ...base,
  type: z.literal("EnqueueTranscode"),
  jobId: JobId,
  generation: z.int().positive(),
  /** 0–100, higher first. */
  priority: z.int().min(0).max(100),
});

/** All parts of a rendition are in Wasabi. The consumer fetches the part list from the object by RPC. */
export const CompleteUpload = z.object({
  ...base,
  type: z.literal("CompleteUpload"),
  op,
  quality: Quality,
  jobId: JobId,
  key: ProxyKey,
  uploadId: UploadId,
  sizeBytes: SizeBytes,
  sha256: CompositeSha256,
});

export const AbortUpload = z.object({
  ...base,
  type: z.literal("AbortUpload"),
  key: z.union([OriginalKey, ProxyKey]),
  uploadId: UploadId,
});

export const AbortEdgeUpload = z.object({
  ...base,
  type: z.literal("AbortEdgeUpload"),
  key: EdgeKey,
  uploadId: UploadId,
});

/** A Wasabi proxy is gone: bring it back from a placed R2 copy whose checksum matches. */
export const RestoreArchive = z.object({
  ...base,
  type: z.literal("RestoreArchive"),
  op,
  stage,
  quality: Quality,
  jobId: JobId,
  key: ProxyKey,
  from: EdgeKey,
  sizeBytes: SizeBytes,
  sha256: CompositeSha256,
});

const copyBase = { ...base, op, quality: Quality, jobId: JobId };

export const PlaceEdgeCopy = z.object({
  ...copyBase,
  type: z.literal("PlaceEdgeCopy"),
  stage,
  /** A viewer waits for it. Messages sent before that was known say no. */
  rush: z.boolean().default(false),
  key: EdgeKey,
  source: ArchivedProxy,
});

export const RemoveEdgeCopy = z.object({
  ...copyBase,
  type: z.literal("RemoveEdgeCopy"),
  key: EdgeKey,
  /** Re-verified by HEAD just before the removal; null only for an asset that is deleted or a superseded job. */
  archive: ArchivedProxy.nullable(),
  /** A pin of its project, given since this was asked for, keeps it. Messages sent before that was known say no. */
  keepIfPinned: z.boolean().default(false),
});

export const PlaceEditorCopy = z.object({
  ...copyBase,
  type: z.literal("PlaceEditorCopy"),
  key: EditorKey,
  source: ArchivedProxy,
});

/** Asks the agent how a transfer stands: the backstop of its callback. */
export const CheckEditorCopy = z.object({
  ...copyBase,
  type: z.literal("CheckEditorCopy"),
  key: EditorKey,
  source: ArchivedProxy,
});

export const RemoveEditorCopy = z.object({ ...copyBase, type: z.literal("RemoveEditorCopy"), key: EditorKey });

/** For the ledger of egress: what the lease of this generation read of the original on this UTC day, told once. */
export const CountSourceRead = z.object({
  ...base,
  type: z.literal("CountSourceRead"),
  generation: z.int().positive(),
  day: z.iso.date(),
  bytes: ReadBytes,
});

/** The catalogue is behind: its consumer asks the object for the present document. */
export const PublishCatalogue = z.object({
  ...base,
  type: z.literal("PublishCatalogue"),
  /** Read by the release before this one alone, which took the document from the message. */
  asset: z.unknown().optional(),
});

export const AppEventType = z.enum([
  "asset.archived",
  "asset.encoded",
  "asset.distributed",
  "asset.evicted",
  "asset.restored",
  "asset.failed",
  "asset.cancelled",
  "asset.deleted",
]);
export type AppEventType = z.infer<typeof AppEventType>;

/** One signed call to the application; `id` is its webhook-id, stable over retries. */
export const NotifyApp = z.object({
  ...base,
  type: z.literal("NotifyApp"),
  event: AppEventType,
  timestamp: z.iso.datetime(),
  asset: Asset,
});

export const Command = z.discriminatedUnion("type", [
  ArchiveOriginal,
  IngestOriginal,
  EnqueueTranscode,
  CompleteUpload,
  AbortUpload,
  AbortEdgeUpload,
  RestoreArchive,
  PlaceEdgeCopy,
  RemoveEdgeCopy,
  PlaceEditorCopy,
  CheckEditorCopy,
  RemoveEditorCopy,
  CountSourceRead,
  PublishCatalogue,
  NotifyApp,
]);
export type Command = z.infer<typeof Command>;
export type CommandOf<Type extends Command["type"]> = Extract<Command, { type: Type }>;

export const QueueName = z.enum([
  "urgent",
  "archive",
  "ingest",
  "transcode",
  "transcode-rush",
  "r2",
  "lucidlink",
  "catalogue",
  "app-webhook",
]);
export type QueueName = z.infer<typeof QueueName>;

/** Jobs of this priority or a higher one have a queue of their own, which runners empty first. */
export const rushPriority = 70;

/** Total, so that a new command cannot be forgotten. */
const queueByType: Readonly<Record<Exclude<Command["type"], "EnqueueTranscode">, QueueName>> = {
  ArchiveOriginal: "archive",
  IngestOriginal: "ingest",
  CompleteUpload: "urgent",
  AbortUpload: "urgent",
  AbortEdgeUpload: "urgent",
  RestoreArchive: "archive",
  PlaceEdgeCopy: "r2",
  RemoveEdgeCopy: "r2",
  PlaceEditorCopy: "lucidlink",
  CheckEditorCopy: "lucidlink",
  RemoveEditorCopy: "lucidlink",
  CountSourceRead: "catalogue",
  PublishCatalogue: "catalogue",
  NotifyApp: "app-webhook",
};

type Routed =
  | { type: Exclude<Command["type"], "EnqueueTranscode">; stage?: { type: TransferStage["type"] }; rush?: boolean }
  | { type: "EnqueueTranscode"; priority: number };

/** Which queue carries which command. */
export function queueOf(command: Routed): QueueName {
  if (command.type === "EnqueueTranscode") return command.priority >= rushPriority ? "transcode-rush" : "transcode";
  // The end of a copy in parts, and what a viewer waits for: neither waits behind terabytes that move in bulk.
  const isUrgent = command.stage?.type === "complete" || command.rush === true;
  return isUrgent ? "urgent" : queueByType[command.type];
}

export const deadLetterQueueOf = (queue: QueueName) => `${queue}-dead` as const;
