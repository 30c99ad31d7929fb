/** The words between the bench and its bare worker. */
import { z } from "zod";

export const BareCopy = z.strictObject({
  /** Presigned, so that the bare worker signs nothing either. */
  url: z.url(),
  sizeBytes: z.int().positive(),
  partSizeBytes: z.int().positive(),
  partsAtOnce: z.int().positive(),
});
export type BareCopy = z.infer<typeof BareCopy>;

export const BareResult = z.object({ sizeBytes: z.int(), tookMs: z.number() });

export const BareConfig = z.strictObject({
  port: z.int(),
  directory: z.string().min(1),
  /** Of its R2 bucket's S3 door, for other tools that copy into the same. */
  accessKeyId: z.string().min(1),
  secretAccessKey: z.string().min(1),
});
export type BareConfig = z.infer<typeof BareConfig>;

export const bareBucket = "bare-proxies";
