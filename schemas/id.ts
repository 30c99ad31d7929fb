/** Identifiers and names: what may appear in a key, a URL or a token. Nothing here rewrites; it refuses. */
import { z } from "zod";

/** What becomes a key, a header or a URL must have an encoding in UTF-8, which half of a surrogate pair has not. */
export const wellFormed = (text: string) => text.isWellFormed();
export const notWellFormed = "must be well-formed Unicode";

/** The uploader's id of a file: 24 hex digits (a Mongo ObjectId) or 8–64 URL-safe characters. */
export const FileId = z
  .string()
  .regex(/^[A-Za-z0-9_-]{8,64}$/, "must be 24 hex digits or 8–64 characters of A–Z a–z 0–9 _ -");
export type FileId = z.infer<typeof FileId>;

/** 24 hex digits, new for every transcode job, so that a delivery URL never changes its bytes. */
export const JobId = z.string().regex(/^[0-9a-f]{24}$/, "must be 24 lower-case hex digits");
export type JobId = z.infer<typeof JobId>;

/** A client or project name. Refused rather than rewritten: rewriting lets two clients collide in one folder. */
export const Slug = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "must be 1–63 characters of a–z 0–9 -, starting with a letter or digit");
export type Slug = z.infer<typeof Slug>;

const utf8 = new TextEncoder();
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this refuses
const unsafeInFileName = /[/\\\u0000-\u001f\u007f-\u009f]/;

/** A file name as its owner wrote it, in NFC, without path separators or control characters, at most 255 bytes. */
export const FileName = z
  .string()
  .min(1, "must not be empty")
  .transform((name) => name.normalize("NFC"))
  .refine((name) => !unsafeInFileName.test(name), "must not contain path separators or control characters")
  .refine((name) => name !== "." && name !== "..", "must not be . or ..")
  .refine(wellFormed, notWellFormed)
  .refine((name) => utf8.encode(name).length <= 255, "must be at most 255 bytes in UTF-8");
export type FileName = z.infer<typeof FileName>;

export const Tier = z.enum(["wasabi", "r2", "lucidlink"]);
export type Tier = z.infer<typeof Tier>;

/** The tiers that hold copies which come and go; Wasabi holds the archive. */
export const CopyTier = z.enum(["r2", "lucidlink"]);
export type CopyTier = z.infer<typeof CopyTier>;

/** A random 128-bit or longer token in URL-safe characters. */
export const Token = z.string().regex(/^[A-Za-z0-9_-]{22,128}$/, "must be 22–128 URL-safe characters");

/** Wasabi's largest object is 5 TB; so is ours. */
export const SizeBytes = z
  .int()
  .nonnegative()
  .max(5 * 1024 ** 4);

/** Of what was read of an object: again and again, it is more than the object has. */
export const ReadBytes = z
  .int()
  .nonnegative()
  .max(1024 ** 5);

/** Of what is uploaded: an empty file is no video. */
export const FileSizeBytes = z
  .int()
  .positive("must be more than 0")
  .max(5 * 1024 ** 4, "must be at most 5497558138880 (5 TiB)");

export const Etag = z.string().min(1).max(200).refine(wellFormed, notWellFormed);

/** Of an object in a bucket: S3 counts bytes. */
export const StorageKey = z
  .string()
  .min(1)
  .max(1024)
  .refine(wellFormed, notWellFormed)
  .refine((key) => utf8.encode(key).length <= 1024, "must be at most 1024 bytes in UTF-8");

export const HttpUrl = z.url({ protocol: /^https?$/ }).refine(wellFormed, notWellFormed);
