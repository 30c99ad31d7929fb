/**
 * Small proxies that many watch at once are answered from this location's cache: whole or by range, without asking R2.
 * Nothing is looked up there that this isolate has not seen in demand within the same minute, so that a large proxy,
 * and a small one that few watch, costs no look at all. Who asks has shown a valid signature already.
 */
import type { EdgeKey } from "../../schemas/key.ts";
import { within } from "../stores/deadline.ts";
import { type RangeSpec, spanOf } from "./byte-range.ts";
import type { Content } from "./delivery.ts";

export const LARGEST_HOT_BYTES = 8 * 1024 * 1024;
/** Short: a proxy that leaves R2, or an asset that is deleted, is gone from here with its minute. */
const MINUTE_MS = 60_000;
/** The cheapest order: a copy costs one more read of R2, and pays from the next request on. */
const HOT_AFTER = 3;
const KNOWN = 1_000;
/** The viewer waits for it before R2 is asked, which would have answered in far less. */
const ANSWER_TIMEOUT_MS = 300;

interface Demand {
  minute: number;
  sizeBytes: number;
  hits: number;
  copied: "no" | "underway" | "yes";
}

const demands = new Map<EdgeKey, Demand>();
const minuteOf = (nowMs: number) => Math.floor(nowMs / MINUTE_MS);
const addressOf = (key: EdgeKey, minute: number) => `https://hot-copy.invalid/${minute}/${key}`;

/** @returns null when it is to be read elsewhere: not in demand, not copied, gone, or a range outside the file */
export async function readHotCopy(key: EdgeKey, range: RangeSpec, nowMs: number): Promise<Content | null> {
  const demand = demands.get(key);
  const minute = minuteOf(nowMs);
  if (demand?.minute !== minute || demand.copied !== "yes") return null;
  const { sizeBytes } = demand;
  const span = spanOf(range, sizeBytes);
  if (span === null) return null;
  const headers = range.kind === "whole" ? {} : { range: `bytes=${span.from}-${span.to}` };
  const found = await lookUp(new Request(addressOf(key, minute), { headers })).catch(() => {
    // Counted again, so that nobody else waits for a cache that is unwell.
    demands.delete(key);
    return undefined;
  });
  if (found?.body == null) return null;
  const expected = range.kind === "whole" ? found.status === 200 : found.status === 206;
  if (!expected || found.headers.get("content-length") !== String(span.to - span.from + 1)) {
    await found.body.cancel();
    return null;
  }
  demand.hits += 1;
  const lastModified = new Date(found.headers.get("last-modified") ?? Number.NaN);
  return { body: found.body, giveUp: null, sizeBytes, span, lastModified, servedFrom: "cache" };
}

/** @throws what the cache does, or once it has not answered in time */
async function lookUp(request: Request): Promise<Response | undefined> {
  const looking = caches.open("delivery-hot").then((cache) => cache.match(request));
  const late = () => new Error(`the cache gave no answer within ${ANSWER_TIMEOUT_MS} ms`);
  return within(looking, ANSWER_TIMEOUT_MS, late).catch((error: unknown) => {
    void looking.then((found) => found?.body?.cancel()).catch(() => undefined);
    throw error;
  });
}

/** Counts a hit on R2. @returns the making of the copy, when that is due now */
export function noteDemand(bucket: R2Bucket, key: EdgeKey, sizeBytes: number, nowMs: number): Promise<void> | null {
  if (sizeBytes > LARGEST_HOT_BYTES) return null;
  const minute = minuteOf(nowMs);
  const known = demands.get(key);
  const demand: Demand = known?.minute === minute ? known : { minute, sizeBytes, hits: 0, copied: "no" };
  demand.hits += 1;
  demands.delete(key);
  demands.set(key, demand);
  if (demands.size > KNOWN) {
    const oldest = demands.keys().next();
    if (!oldest.done) demands.delete(oldest.value);
  }
  if (demand.hits < HOT_AFTER || demand.copied !== "no") return null;
  demand.copied = "underway";
  return copy(bucket, key, demand).catch((error: unknown) => {
    demand.copied = "no";
    throw error;
  });
}

/** Read once more, so that no slow viewer holds it up and nothing is kept in memory for one. */
async function copy(bucket: R2Bucket, key: EdgeKey, demand: Demand): Promise<void> {
  const object = await bucket.get(key);
  if (object === null || object.size !== demand.sizeBytes) {
    await object?.body.cancel();
    throw new Error("R2 no longer has the object that was served");
  }
  const headers = {
    "cache-control": `max-age=${MINUTE_MS / 1000}`,
    "content-length": String(object.size),
    "content-type": "video/mp4",
    "last-modified": object.uploaded.toUTCString(),
  };
  const sized = object.body.pipeThrough(new FixedLengthStream(object.size));
  const cache = await caches.open("delivery-hot");
  await cache.put(addressOf(key, demand.minute), new Response(sized, { headers }));
  demand.copied = "yes";
}
