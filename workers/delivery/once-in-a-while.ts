/**
 * Lets a fact through once per period and location: a marker in the Cache API stands in for the many range requests of
 * one viewing. Markers are local to a location and may vanish, so the fact's idempotency key carries the period too.
 */

export interface Period {
  name: string;
  lengthMs: number;
}

/** @param report is told the period's number; its failure leaves no marker, so that the next request tries again */
export async function onceIn(period: Period, nowMs: number, report: (count: number) => Promise<void>): Promise<void> {
  const count = Math.floor(nowMs / period.lengthMs);
  const marker = `https://marker.invalid/${period.name}/${count}`;
  const cache = await caches.open("delivery-markers");
  if ((await cache.match(marker)) !== undefined) return;
  await report(count);
  const headers = { "cache-control": `max-age=${Math.ceil(period.lengthMs / 1000)}` };
  await cache.put(marker, new Response(null, { headers }));
}
