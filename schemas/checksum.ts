/**
 * The digests that prove a copy: those of one part, and the composite SHA-256 of a whole object.
 * Nothing here computes; the writers that own crypto do.
 */
import { z } from "zod";
import { notWellFormed, wellFormed } from "./id.ts";

export const Sha256Hex = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 lower-case hex digits");
export type Sha256Hex = z.infer<typeof Sha256Hex>;

export const Md5Hex = z.string().regex(/^[0-9a-f]{32}$/, "expected 32 lower-case hex digits");
export type Md5Hex = z.infer<typeof Md5Hex>;

/** S3 allows part numbers 1 to 10,000. */
export const PartNumber = z.int().min(1).max(10_000);
export type PartNumber = z.infer<typeof PartNumber>;

/**
 * One uploaded part. `etag` is kept as the store sent it, without its quotes: the part's MD5 in Wasabi, an opaque token
 * of some 170 characters in R2's S3 API.
 */
export const PartDigest = z.strictObject({
  n: PartNumber,
  sizeBytes: z.int().positive(),
  etag: z.string().min(1).max(512).refine(wellFormed, notWellFormed),
  md5: Md5Hex,
  sha256: Sha256Hex,
});
export type PartDigest = z.infer<typeof PartDigest>;

/**
 * A whole object's SHA-256 by parts: `composite` is the SHA-256 of the raw (32-byte) part digests concatenated in
 * order, also when there is a single part. Comparable only with one of the same `partSizeBytes`. The part digests
 * themselves are PartDigest rows, kept apart: by the thousand they fit neither a message nor the stored state.
 */
export const CompositeSha256 = z.strictObject({
  partSizeBytes: z.int().positive(),
  /** How many there are. */
  parts: PartNumber,
  composite: Sha256Hex,
});
export type CompositeSha256 = z.infer<typeof CompositeSha256>;
