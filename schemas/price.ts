/** What storage costs: list prices of 2026, in US dollars. docs/retention.md names their sources. */

/** Wasabi, pay as you go: $7.99 per TB and month, a TB being 1024 ** 4 bytes. */
const wasabiUsdPerByteMonth = 7.99 / 1024 ** 4;
/** R2, standard storage: $0.015 per GB and month, a GB being 10 ** 9 bytes. */
const r2UsdPerByteMonth = 0.015 / 1e9;
/** LucidLink: $8 per 100 GB and month beyond the plan. */
const lucidlinkUsdPerByteMonth = 8 / 100e9;

/** Whatever is deleted from Wasabi earlier is billed as if it had stayed. */
export const wasabiMinimumDays = 90;
const daysPerMonth = 30;
const dayMs = 24 * 60 * 60_000;

const usdPerByteMonth = { wasabi: wasabiUsdPerByteMonth, r2: r2UsdPerByteMonth, lucidlink: lucidlinkUsdPerByteMonth };

export const cents = (usd: number) => Math.round(usd * 100) / 100;

export function monthlyUsd(tier: keyof typeof usdPerByteMonth, bytes: number): number {
  return cents(bytes * usdPerByteMonth[tier]);
}

/** What Wasabi still bills for an object that is deleted now. */
export function earlyDeletionUsd(object: { sizeBytes: number; writtenAtMs: number }, atMs: number): number {
  const leftMs = Math.max(0, object.writtenAtMs + wasabiMinimumDays * dayMs - atMs);
  return object.sizeBytes * wasabiUsdPerByteMonth * (leftMs / dayMs / daysPerMonth);
}

export const minimumEndsAtMs = (writtenAtMs: number) => writtenAtMs + wasabiMinimumDays * dayMs;
