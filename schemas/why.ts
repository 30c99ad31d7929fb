/** Why a copy is where it is, in words: what people ask before they ask anything else. */
import { z } from "zod";
import { Tier } from "./id.ts";
import { Quality } from "./ladder.ts";

const Time = z.iso.datetime();

export const Why = z.object({
  tier: Tier,
  quality: z.union([Quality, z.literal("original")]),
  key: z.string(),
  /** When it got there; null while it is not there. */
  since: Time.nullable(),
  because: z.string(),
  /** Null where nobody has, or nobody counts. */
  lastAccessAt: Time.nullable(),
  /** What happens to it next unless something comes between, and when. */
  next: z.object({ action: z.string(), at: Time }).nullable(),
  /** What keeps that, or anything else, from happening. */
  blockedBy: z.string().nullable(),
});
export type Why = z.infer<typeof Why>;

export const WhyPage = z.object({ copies: z.array(Why) });
