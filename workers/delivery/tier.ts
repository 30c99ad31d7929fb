/** Finds a proxy's bytes: this location's cache, then R2, then Wasabi; and the rest of them when a tier breaks off. */
import type { AssetDoor, ProxyLocation } from "../../durable-objects/asset-door.ts";
import { edgeKey } from "../../schemas/key.ts";
import { log } from "../log.ts";
import type { PlaybackTarget } from "../playback-url.ts";
import { Refusal } from "../problem.ts";
import { within } from "../stores/deadline.ts";
import { ArchiveLoss, readArchive } from "./archive-read.ts";
import { type ByteSpan, spanOf } from "./byte-range.ts";
import type { Content, Delivery, ServedFrom } from "./delivery.ts";
import { type EdgeRead, readEdge } from "./edge-read.ts";
import { noteDemand, readHotCopy } from "./hot-copy.ts";
import { doorOf, noteAccess, noteLoss, noteMiss, noteUnserved } from "./note.ts";

const OBJECT_TIMEOUT_MS = 5_000;

/** @throws Refusal NOT_FOUND, SUPERSEDED, RANGE_NOT_SATISFIABLE; UNAVAILABLE when no tier can serve it now */
export async function find(delivery: Delivery): Promise<Content> {
  const { env, facts, target, range, headOnly, nowMs } = delivery;
  const key = edgeKey(target.jobId, target.quality);
  const hot = headOnly ? null : await readHotCopy(key, range, nowMs);
  if (hot !== null) {
    noteAccess(delivery);
    return hot;
  }
  const read: EdgeRead | null = await readEdge(env.PROXIES, key, { range, headOnly }).catch((error: unknown) => {
    log({ event: "delivery.tier-failed", ...facts, code: "R2_UNAVAILABLE" }, error);
    return null;
  });
  if (read?.outcome === "outside") throw outside(read.sizeBytes);
  if (read?.outcome !== "found") return findInArchive(delivery, read !== null);
  const { body, sizeBytes, span, uploaded } = read;
  if (!headOnly) {
    noteAccess(delivery);
    const copying = noteDemand(env.PROXIES, key, sizeBytes, nowMs);
    const failed = (error: unknown) => log({ event: "delivery.note-failed", ...facts, note: "hot-copy" }, error);
    if (copying !== null) delivery.ctx.waitUntil(copying.catch(failed));
  }
  return { body, sizeBytes, span, lastModified: uploaded, servedFrom: "r2" };
}

async function findInArchive(delivery: Delivery, missedInEdge: boolean): Promise<Content> {
  const { config, target, range, headOnly } = delivery;
  const location = await locate(doorOf(delivery), target).catch((cause: unknown) => {
    noteUnserved(delivery, cause);
    throw new Refusal("UNAVAILABLE", "This proxy cannot be found now. Try again shortly.", { cause });
  });
  if (!location.found) throw location.superseded ? superseded() : new Refusal("NOT_FOUND", "There is no such proxy.");
  const { archive } = location;
  if (archive === null) throw new Refusal("UNAVAILABLE", "This proxy is being restored. Try again shortly.");
  const span = spanOf(range, archive.sizeBytes);
  if (span === null) throw outside(archive.sizeBytes);
  const body = await readArchive(config.wasabi, archive, { span, headOnly }).catch((error: unknown) => {
    // Until the asset knows, every URL that it signs ends here.
    if (error instanceof ArchiveLoss) noteLoss(delivery, error);
    else noteUnserved(delivery, error);
    if (error instanceof ArchiveLoss && error.replaced) throw superseded();
    throw new Refusal("UNAVAILABLE", "No tier can serve this proxy now. Try again shortly.", { cause: error });
  });
  // R2 failing is no reason to place what lies there already.
  if (!headOnly && (missedInEdge || !location.edgePlaced)) noteMiss(delivery);
  return { body, sizeBytes: archive.sizeBytes, span, lastModified: null, servedFrom: "wasabi" };
}

/**
 * The rest of a response that its tier broke off. The same bytes wherever they come from: R2's key is the job's, and
 * Wasabi's object is pinned by its ETag.
 * @returns null when no tier has it
 */
export async function findRest(
  delivery: Delivery,
  brokenOff: ServedFrom,
  { from, to }: ByteSpan,
): Promise<Pick<Content, "body" | "servedFrom"> | null> {
  const { env, config, target } = delivery;
  const inEdge = async () => {
    const key = edgeKey(target.jobId, target.quality);
    const read = await readEdge(env.PROXIES, key, { range: { kind: "from", first: from, last: to }, headOnly: false });
    return read.outcome === "found" ? ({ body: read.body, servedFrom: "r2" } as const) : null;
  };
  const inArchive = async () => {
    const location = await locate(doorOf(delivery), target);
    if (!location.found || location.archive === null) return null;
    const body = await readArchive(config.wasabi, location.archive, { span: { from, to }, headOnly: false });
    return { body, servedFrom: "wasabi" } as const;
  };
  for (const read of brokenOff === "r2" ? [inArchive, inEdge] : [inEdge, inArchive]) {
    const rest = await read().catch((error: unknown) => {
      log({ event: "delivery.tier-failed", ...delivery.facts, code: codeOf(read === inEdge) }, error);
      return null;
    });
    if (rest !== null) return rest;
  }
  return null;
}

const codeOf = (isEdge: boolean) => (isEdge ? "R2_UNAVAILABLE" : "WASABI_UNAVAILABLE");

function superseded(): Refusal {
  return new Refusal("SUPERSEDED", "A newer rendition has replaced this one. Ask for a new playback URL.");
}

function locate(door: AssetDoor, target: PlaybackTarget): Promise<ProxyLocation> {
  const late = () => new Error(`the asset gave no answer within ${OBJECT_TIMEOUT_MS} ms`);
  return within(door.locateProxy(target.quality, target.jobId), OBJECT_TIMEOUT_MS, late);
}

function outside(sizeBytes: number): Refusal {
  return new Refusal("RANGE_NOT_SATISFIABLE", `The file has ${sizeBytes} bytes.`, {
    headers: { "content-range": `bytes */${sizeBytes}`, "accept-ranges": "bytes" },
  });
}
