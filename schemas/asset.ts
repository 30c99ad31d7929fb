/** The asset as clients see it: times in ISO 8601 UTC, sizes in bytes. Projected from the stored state, never stored. */
import { z } from "zod";
import { CompositeSha256 } from "./checksum.ts";
import { FailureCode } from "./failure.ts";
import { Etag, FileId, FileName, JobId, SizeBytes, Slug, Tier } from "./id.ts";
import { Quality } from "./ladder.ts";
import { SourceDamage } from "./source-damage.ts";

const Time = z.iso.datetime();

export const AssetState = z.enum([
  "received",
  "archived",
  "transcoding",
  "distributing",
  "distributed",
  "evicted",
  "failed",
  "cancelled",
  "deleting",
  "deleted",
]);
export type AssetState = z.infer<typeof AssetState>;

export const Problem = z.object({
  /** The step that has it, `original` where a verified original was lost, or `source` where its media is damaged: archive, transcode, complete:720p, r2:360p, lucidlink:1080p. */
  step: z.string(),
  code: FailureCode,
  message: z.string(),
  since: Time,
  retryable: z.boolean(),
  nextAttemptAt: Time.nullable(),
});
export type Problem = z.infer<typeof Problem>;

export const CopyStatus = z.enum(["wanted", "placing", "placed", "removing", "evicted", "failed"]);
export type CopyStatus = z.infer<typeof CopyStatus>;

export const RenditionStatus = z.enum(["wanted", "encoding", "uploaded", "archived", "missing", "failed"]);
export type RenditionStatus = z.infer<typeof RenditionStatus>;

export const Copy = z.object({
  tier: Tier,
  key: z.string(),
  status: CopyStatus,
  placedAt: Time.nullable(),
  verifiedAt: Time.nullable(),
  lastAccessAt: Time.nullable(),
  evictAfter: Time.nullable(),
  pinnedUntil: Time.nullable(),
  problem: Problem.nullable(),
});
export type Copy = z.infer<typeof Copy>;

export const Rendition = z.object({
  quality: Quality,
  status: RenditionStatus,
  jobId: JobId,
  width: z.int().nullable(),
  height: z.int().nullable(),
  frames: z.int().nullable(),
  durationSeconds: z.number().nullable(),
  sizeBytes: SizeBytes.nullable(),
  sha256: CompositeSha256.nullable(),
  copies: z.array(Copy),
});
export type Rendition = z.infer<typeof Rendition>;

export const SourceView = z.object({
  container: z.string(),
  durationSeconds: z.number(),
  width: z.int(),
  height: z.int(),
  fps: z.number(),
  /** Variable: then `fps` is the rate of its shortest usual interval. Absent where it is constant. */
  vfr: z.literal(true).optional(),
  videoCodec: z.string(),
  /** Why this picture track, where the file has several. */
  videoWhy: z.string().optional(),
  audio: z.array(
    z.object({
      codec: z.string(),
      channels: z.int(),
      language: z.string().nullable(),
      /** Of several: the renditions let it hear. */
      heard: z.literal(true).optional(),
    }),
  ),
  /** Why these sound tracks are heard, where there was a choice, or why none is. */
  audioWhy: z.string().optional(),
  /** What of it does not decode, in the renditions' time: there they show the last good picture, or are silent. */
  damage: z.array(SourceDamage).optional(),
  rotation: z.int(),
  hdr: z.string().nullable(),
  timecode: z.string().nullable(),
});

export const Progress = z.object({
  percent: z.number().min(0).max(100),
  fps: z.number().nonnegative(),
  speed: z.number().nonnegative(),
  etaSeconds: z.number().nonnegative().nullable(),
  runnerId: z.string(),
  encoder: z.string(),
});
export type Progress = z.infer<typeof Progress>;

export const Links = z.object({ self: z.string(), status: z.string(), history: z.string() });

export const Asset = z.object({
  fileId: FileId,
  clientName: Slug,
  projectName: Slug,
  fileName: FileName,
  sizeBytes: SizeBytes,
  state: AssetState,
  revision: z.int().positive(),
  generation: z.int().nonnegative(),
  jobId: JobId.nullable(),
  problem: Problem.nullable(),
  original: z
    .object({ tier: z.literal("wasabi"), key: z.string(), sizeBytes: SizeBytes, etag: Etag, verifiedAt: Time })
    .nullable(),
  source: SourceView.nullable(),
  renditions: z.array(Rendition),
  progress: Progress.nullable(),
  createdAt: Time,
  updatedAt: Time,
  links: Links,
});
export type Asset = z.infer<typeof Asset>;

export const AssetSummary = z.object({
  fileId: FileId,
  clientName: Slug,
  projectName: Slug,
  fileName: z.string(),
  sizeBytes: SizeBytes,
  state: AssetState,
  revision: z.int(),
  problemCode: FailureCode.nullable(),
  percent: z.number().nullable(),
  createdAt: Time,
  updatedAt: Time,
});
export type AssetSummary = z.infer<typeof AssetSummary>;

export const HistoryEntry = z.object({
  revision: z.int(),
  at: Time,
  event: z.string(),
  by: z.string(),
  state: AssetState,
  detail: z.record(z.string(), z.unknown()),
});
export type HistoryEntry = z.infer<typeof HistoryEntry>;
