/** What storage holds and costs, and what left Wasabi against its fair-use rule: as operators are told. */
import { z } from "zod";
import { Tier } from "./id.ts";

const Time = z.iso.datetime();
const Bytes = z.int().nonnegative();

export const StorageRow = z.object({
  clientName: z.string(),
  tier: Tier,
  content: z.enum(["original", "proxy"]),
  objects: z.int().nonnegative(),
  bytes: Bytes,
  countedAt: Time,
});
export type StorageRow = z.infer<typeof StorageRow>;

const TierTotal = z.object({ tier: Tier, objects: z.int().nonnegative(), bytes: Bytes, usdPerMonth: z.number() });

export const StorageReport = z.object({
  /** Counted once a day; null before the first count. */
  countedAt: Time.nullable(),
  tiers: z.array(TierTotal),
  clients: z.array(z.object({ clientName: z.string(), tiers: z.array(TierTotal) })),
});
export type StorageReport = z.infer<typeof StorageReport>;

/** Wasabi's egress is free as long as a month's does not exceed what is stored. */
export const fairUse = { limitRatio: 1, warnRatio: 0.8 } as const;

export const EgressReport = z.object({
  month: z.string(),
  /** Bytes that we read from Wasabi, by why. */
  measured: z.record(z.string(), Bytes),
  measuredBytes: Bytes,
  /** Opened to render nodes by presigned URLs, whether or not they were read. */
  grantedBytes: Bytes,
  /** As counted last; null before the first count. */
  storedBytes: Bytes.nullable(),
  /** (measured + granted) / stored; null where nothing is stored. */
  ratio: z.number().nullable(),
  warnRatio: z.number(),
  limitRatio: z.number(),
});
export type EgressReport = z.infer<typeof EgressReport>;

export const DeletionCost = z.object({
  /** All of it in Wasabi: the original and every rendition. */
  bytes: Bytes,
  /** When the last object's minimum ends. */
  minimumEndsAt: Time.nullable(),
  /** What Wasabi still bills for the rest of the minimum, should all of it be deleted now. */
  remainingUsd: z.number(),
  objects: z.array(
    z.object({ key: z.string(), bytes: Bytes, writtenAt: Time, minimumEndsAt: Time, remainingUsd: z.number() }),
  ),
});
export type DeletionCost = z.infer<typeof DeletionCost>;

export const CapacityReport = z.object({
  /** Null where this deployment has no LucidLink. */
  lucidlink: z
    .object({
      objects: z.int().nonnegative(),
      /** Placed by us, as counted last. */
      bytes: Bytes,
      /** As the agent sees its mount; null while it does not answer. */
      freeBytes: Bytes.nullable(),
      mounted: z.boolean().nullable(),
    })
    .nullable(),
});

export function egressReport(
  month: string,
  egress: { measured: Record<string, number>; grantedBytes: number },
  storedBytes: number | null,
): EgressReport {
  const measuredBytes = Object.values(egress.measured).reduce((sum, bytes) => sum + bytes, 0);
  const used = measuredBytes + egress.grantedBytes;
  const ratio = storedBytes === null || storedBytes === 0 ? null : Math.round((used / storedBytes) * 10_000) / 10_000;
  const { warnRatio, limitRatio } = fairUse;
  return { month, ...egress, measuredBytes, storedBytes, ratio, warnRatio, limitRatio };
}
