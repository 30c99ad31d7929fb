/** What speaks for a copy: what it measured, when that was seen last, by whom and how. One row per object that is there. */
import { z } from "zod";
import { CompositeSha256 } from "./checksum.ts";
import { Etag, SizeBytes, Tier } from "./id.ts";
import { Quality } from "./ladder.ts";

const Time = z.iso.datetime();

export const Evidence = z.object({
  tier: Tier,
  quality: z.union([Quality, z.literal("original")]),
  key: z.string(),
  sizeBytes: SizeBytes,
  /** Null in LucidLink, which has none. */
  etag: Etag.nullable(),
  /** Null where nobody has hashed the bytes: an original that its uploader put into the bucket. */
  sha256: CompositeSha256.nullable(),
  /** When it was told to be whole; null where its uploader wrote it. */
  writtenAt: Time.nullable(),
  verifiedAt: Time,
  /** Who told it, as in the history. */
  verifiedBy: z.string(),
  /** In words. */
  method: z.string(),
});
export type Evidence = z.infer<typeof Evidence>;

export const EvidencePage = z.object({ copies: z.array(Evidence) });
