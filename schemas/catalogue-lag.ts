/** How far the catalogue is behind the assets, as operators see it. */
import { z } from "zod";

const LagMinute = z.object({
  minute: z.iso.datetime(),
  /** Rows that were written. */
  written: z.int(),
  /** Of the change that waited longest, from when it was decided until its row was there. */
  worstMs: z.int(),
});

export const CatalogueLag = z.object({
  /** The worst of the last five minutes; null when nothing was written in them. */
  lagMs: z.int().nullable(),
  /** Those of the last hour in which rows were written, the newest first. */
  minutes: z.array(LagMinute),
});
export type CatalogueLag = z.infer<typeof CatalogueLag>;

export const recentLagMs = 5 * 60_000;

/** Pure. */
export function lagReport(minutes: CatalogueLag["minutes"], nowMs: number): CatalogueLag {
  const recent = minutes.filter(({ minute }) => Date.parse(minute) > nowMs - recentLagMs);
  return { lagMs: recent.length === 0 ? null : Math.max(...recent.map(({ worstMs }) => worstMs)), minutes };
}
