/** Finds a proxy's bytes: this location's cache, then R2, then Wasabi; and the rest of them when a tier breaks off. */
import type { AssetDoor, ProxyLocation } from "../../durable-objects/asset-door.ts";
import { log } from "../log.ts";
import type { PlaybackTarget } from "../playback-url.ts";
import { Refusal } from "../problem.ts";
import { within } from "../stores/deadline.ts";
import { StoreFailure } from "../stores/store-failure.ts";
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
  const { key } = target;
  const hot = headOnly ? null : await readHotCopy(key, range, nowMs);
  if (hot !== null) {
    noteAccess(delivery);
    return hot;
  }
  let edgeFault: StoreFailure | null = null;
  const read: EdgeRead | null = await readEdge(env.PROXIES, key, { range, headOnly }).catch((error: unknown) => {
    log({ event: "delivery.tier-failed", ...facts, code: "R2_UNAVAILABLE" }, error);
    edgeFault = edgeFailure(error);
    return null;
  });
  if (read?.outcome === "outside") throw outside(read.sizeBytes);
  if (read?.outcome !== "found") return findInArchive(delivery, edgeFault);
  const { body, sizeBytes, span, uploaded } = read;
  if (!headOnly) {
    noteAccess(delivery);
    const copying = noteDemand(env.PROXIES, key, sizeBytes, nowMs);
    const failed = (error: unknown) => log({ event: "delivery.note-failed", ...facts, note: "hot-copy" }, error);
    if (copying !== null) delivery.ctx.waitUntil(copying.catch(failed));
  }
  return { body, giveUp: null, sizeBytes, span, lastModified: uploaded, servedFrom: "r2" };
}

/** @param edgeFault null when R2 answered that it has not */
async function findInArchive(delivery: Delivery, edgeFault: StoreFailure | null): Promise<Content> {
  const { config, target, range, headOnly } = delivery;
  const edge = edgeFault === null ? "R2 has not" : "R2 failed";
  const location = await locate(doorOf(delivery), target).catch((cause: unknown) => {
    noteUnserved(delivery, cause, `${edge}, and its asset did not answer where Wasabi has it`);
    throw new Refusal("UNAVAILABLE", "This proxy cannot be found now. Try again shortly.", { cause });
  });
  if (!location.found) throw location.superseded ? superseded() : new Refusal("NOT_FOUND", "There is no such proxy.");
  const { archive } = location;
  if (archive === null) {
    if (edgeFault !== null) noteUnserved(delivery, edgeFault, `${edge}, and Wasabi's object is being restored`);
    throw new Refusal("UNAVAILABLE", "This proxy is being restored. Try again shortly.", { cause: edgeFault });
  }
  const span = spanOf(range, archive.sizeBytes);
  if (span === null) throw outside(archive.sizeBytes);
  const stop = new AbortController();
  const { signal } = stop;
  const body = await readArchive(config.wasabi, archive, { span, headOnly, signal }).catch((error: unknown) => {
    // Until the asset knows, every URL that it signs ends here.
    if (error instanceof ArchiveLoss) noteLoss(delivery, error);
    else noteUnserved(delivery, error, `${edge}, and Wasabi failed`);
    if (error instanceof ArchiveLoss && error.replaced) throw superseded();
    throw new Refusal("UNAVAILABLE", "No tier can serve this proxy now. Try again shortly.", { cause: error });
  });
  // R2 failing is no reason to place what lies there already.
  if (!headOnly && (edgeFault === null || !location.edgePlaced)) noteMiss(delivery);
  const giveUp = (cause: Error) => stop.abort(cause);
  return { body, giveUp, sizeBytes: archive.sizeBytes, span, lastModified: null, servedFrom: "wasabi" };
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
    const read = await readEdge(env.PROXIES, target.key, {
      range: { kind: "from", first: from, last: to },
      headOnly: false,
    });
    return read.outcome === "found" ? ({ body: read.body, servedFrom: "r2" } as const) : null;
  };
  const inArchive = async () => {
    const location = await locate(doorOf(delivery), target);
    if (!location.found || location.archive === null) return null;
    const body = await readArchive(config.wasabi, location.archive, { span: { from, to }, headOnly: false });
    return { body, servedFrom: "wasabi" } as const;
  };
  let fault: unknown = null;
  for (const read of brokenOff === "r2" ? [inArchive, inEdge] : [inEdge, inArchive]) {
    const rest = await read().catch((error: unknown) => {
      log({ event: "delivery.tier-failed", ...delivery.facts, code: codeOf(read === inEdge) }, error);
      if (error instanceof ArchiveLoss) noteLoss(delivery, error);
      else fault = read === inEdge ? edgeFailure(error) : error;
      return null;
    });
    if (rest !== null) return rest;
  }
  // Without a fault, it was deleted or replaced meanwhile.
  if (fault !== null) noteUnserved(delivery, fault, "it broke off, and no tier has the rest");
  return null;
}

const codeOf = (isEdge: boolean) => (isEdge ? "R2_UNAVAILABLE" : "WASABI_UNAVAILABLE");
const edgeFailure = (cause: unknown) => new StoreFailure("R2_UNAVAILABLE", "R2 failed.", { cause });

function superseded(): Refusal {
  return new Refusal("SUPERSEDED", "A newer rendition has replaced this one. Ask for a new playback URL.");
}

async function locate(door: AssetDoor, target: PlaybackTarget): Promise<ProxyLocation> {
  const late = () => new Error(`the asset gave no answer within ${OBJECT_TIMEOUT_MS} ms`);
  return within(door.locateProxy(target.quality, target.jobId), OBJECT_TIMEOUT_MS, late);
}

function outside(sizeBytes: number): Refusal {
  return new Refusal("RANGE_NOT_SATISFIABLE", `The file has ${sizeBytes} bytes.`, {
    headers: { "content-range": `bytes */${sizeBytes}`, "accept-ranges": "bytes" },
  });
}
