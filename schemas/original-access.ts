/** Render access: the original's presigned URL, and the byte ranges that hold a stretch of time. */
import { z } from "zod";
import { Etag, SizeBytes } from "./id.ts";

const seconds = z.number().nonnegative();

export const TimeRange = z
  .strictObject({ startSeconds: seconds, endSeconds: seconds })
  .refine((range) => range.startSeconds < range.endSeconds, "must end after it starts");

export const OriginalAccessRequest = z.strictObject({ timeRanges: z.array(TimeRange).min(1).max(100).optional() });
export type OriginalAccessRequest = z.infer<typeof OriginalAccessRequest>;

/** Bytes `from` to `to`, both included. */
export const ByteRange = z.object({ from: SizeBytes, to: SizeBytes });

/**
 * Why a reader must take the whole file: no time ranges were asked for; it is neither MOV nor MP4; its index is spread
 * over the file (fragments), is larger than is read, cannot be understood, or could not be read from Wasabi just now.
 */
export const WholeBecause = z.enum([
  "not-asked",
  "not-mov-or-mp4",
  "fragmented",
  "index-too-large",
  "index-unreadable",
  "index-unreachable",
]);
export type WholeBecause = z.infer<typeof WholeBecause>;

export const OriginalAccessGrant = z.object({
  url: z.url(),
  expiresAt: z.iso.datetime(),
  sizeBytes: SizeBytes,
  etag: Etag,
  /** True when each segment's ranges are the whole file: its index says no better. */
  whole: z.boolean(),
  wholeBecause: WholeBecause.nullable(),
  /** Bytes that a reader needs besides any segment's. */
  header: z.array(ByteRange),
  segments: z.array(z.object({ startSeconds: seconds, endSeconds: seconds, ranges: z.array(ByteRange) })),
});
export type OriginalAccessGrant = z.infer<typeof OriginalAccessGrant>;
