/**
 * Lets a fact through once per period and location. What this isolate has told it remembers, so that the many range
 * requests of one viewing cost nothing; a marker in the Cache API stands in for the location's other isolates. Both are
 * local and may vanish, so the fact's idempotency key carries the period too.
 */

export interface Period {
  name: string;
  lengthMs: number;
}

interface Mark {
  count: number;
  /** Till then nobody else here reports it. */
  untilMs: number;
}

const REPORT_MS = 30_000;
const REMEMBERED = 10_000;
const marks = new Map<string, Mark>();

/**
 * @param report is told the period's number; its failure leaves no marker, so that the next request tries again
 * @returns null when this isolate knows that it has been told
 */
export function onceIn(
  { name, lengthMs }: Period,
  nowMs: number,
  report: (count: number) => Promise<void>,
): Promise<void> | null {
  const count = Math.floor(nowMs / lengthMs);
  const mark = marks.get(name);
  if (mark !== undefined && mark.count === count && nowMs < mark.untilMs) return null;
  // Before anything is waited for: a hundred viewers at once are one report. One that its request took along with it
  // is taken up by the next viewer.
  remember(name, { count, untilMs: nowMs + REPORT_MS });
  return throughMarker({ name, lengthMs }, count, report).then(
    () => remember(name, { count, untilMs: (count + 1) * lengthMs }),
    (error: unknown) => {
      marks.delete(name);
      throw error;
    },
  );
}

function remember(name: string, mark: Mark): void {
  marks.delete(name);
  marks.set(name, mark);
  if (marks.size <= REMEMBERED) return;
  const oldest = marks.keys().next();
  if (!oldest.done) marks.delete(oldest.value);
}

async function throughMarker(period: Period, count: number, report: (count: number) => Promise<void>): Promise<void> {
  const marker = `https://marker.invalid/${period.name}/${count}`;
  const cache = await caches.open("delivery-markers");
  if ((await cache.match(marker)) !== undefined) return;
  await report(count);
  const headers = { "cache-control": `max-age=${Math.ceil(period.lengthMs / 1000)}` };
  await cache.put(marker, new Response(null, { headers }));
}
