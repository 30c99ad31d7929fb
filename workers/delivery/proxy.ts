/**
 * Delivery: GET|HEAD /proxies/{jobId}/{quality}.mp4 with a signed query. A hit on R2 asks nobody else; a miss streams the
 * same bytes from Wasabi at once, and has the proxy brought to R2 behind the viewer's back.
 */
import { type AssetDoor, assetDoor, type ProxyLocation } from "../../durable-objects/asset-door.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import { edgeKey } from "../../schemas/key.ts";
import { log } from "../log.ts";
import { type PlaybackTarget, verifyPlaybackUrl } from "../playback-url.ts";
import { problemResponse, Refusal, type RequestFacts, requestFacts } from "../problem.ts";
import { type Config, type Env, readConfig } from "../stores/config.ts";
import { within } from "../stores/deadline.ts";
import { ArchiveLoss, readArchive } from "./archive-read.ts";
import { type ByteSpan, matchesEtag, type RangeSpec, rangeOfRequest, spanOf } from "./byte-range.ts";
import { type EdgeRead, readEdge } from "./edge-read.ts";
import { onceIn } from "./once-in-a-while.ts";
import { cacheHeaders, contentHeaders, corsHeaders, preflightHeaders, proxyEtag } from "./proxy-headers.ts";

const OBJECT_TIMEOUT_MS = 5_000;
const HOUR_MS = 60 * 60 * 1000;
const MINUTE_MS = 60 * 1000;

type Background = Pick<ExecutionContext, "waitUntil">;

interface Delivery {
  request: Request;
  env: Env;
  config: Config;
  ctx: Background;
  facts: RequestFacts;
  target: PlaybackTarget;
  range: RangeSpec;
  headOnly: boolean;
  nowMs: number;
}

interface Content {
  body: ReadableStream | null;
  sizeBytes: number;
  span: ByteSpan;
  lastModified: Date | null;
  servedFrom: "r2" | "wasabi";
}

export function isDeliveryPath(request: Request): boolean {
  return new URL(request.url).pathname.startsWith("/proxies/");
}

export async function handleDelivery(request: Request, env: Env, ctx: Background): Promise<Response> {
  const facts = requestFacts(request);
  let response: Response;
  try {
    response = await deliver(request, env, ctx, facts);
  } catch (thrown) {
    response = problemResponse(thrown, facts);
  }
  for (const [name, value] of Object.entries(corsHeaders)) response.headers.set(name, value);
  response.headers.set("x-request-id", facts.requestId);
  return response;
}

async function deliver(request: Request, env: Env, ctx: Background, facts: RequestFacts): Promise<Response> {
  if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: preflightHeaders });
  if (request.method !== "GET" && request.method !== "HEAD") {
    const allow = "GET, HEAD, OPTIONS";
    throw new Refusal("METHOD_NOT_ALLOWED", `This address answers ${allow}.`, { headers: { allow } });
  }
  const config = readConfig(env);
  const nowMs = Date.now();
  const target = await verifyPlaybackUrl(new URL(request.url), config.playbackKeys, nowMs);
  if (target === null) throw new Refusal("NOT_FOUND", "There is no such proxy.");
  const etag = proxyEtag(target);
  if (matchesEtag(request.headers.get("if-none-match"), etag)) {
    return new Response(null, { status: 304, headers: cacheHeaders(target, nowMs) });
  }
  const headOnly = request.method === "HEAD";
  const range: RangeSpec = headOnly ? { kind: "whole" } : rangeOfRequest(request.headers, etag);
  const delivery: Delivery = { request, env, config, ctx, facts, target, range, headOnly, nowMs };
  return answer(delivery, await find(delivery));
}

async function find(delivery: Delivery): Promise<Content> {
  const { env, facts, target, range, headOnly } = delivery;
  const key = edgeKey(target.jobId, target.quality);
  const read: EdgeRead | null = await readEdge(env.PROXIES, key, { range, headOnly }).catch((error: unknown) => {
    log({ event: "delivery.tier-failed", ...facts, code: "R2_UNAVAILABLE" }, error);
    return null;
  });
  if (read?.outcome === "outside") throw outside(read.sizeBytes);
  if (read?.outcome !== "found") return findInArchive(delivery, read !== null);
  if (!headOnly) noteAccess(delivery);
  const { body, sizeBytes, span, uploaded } = read;
  return { body, sizeBytes, span, lastModified: uploaded, servedFrom: "r2" };
}

async function findInArchive(delivery: Delivery, missedInEdge: boolean): Promise<Content> {
  const { env, config, target, range, headOnly } = delivery;
  const door = assetDoor(env.ASSET, target.fileId);
  const location = await locate(door, target);
  if (!location.found) throw location.superseded ? superseded() : new Refusal("NOT_FOUND", "There is no such proxy.");
  const { archive } = location;
  if (archive === null) throw new Refusal("UNAVAILABLE", "This proxy is being restored. Try again shortly.");
  const span = spanOf(range, archive.sizeBytes);
  if (span === null) throw outside(archive.sizeBytes);
  const body = await readArchive(config.wasabi, archive, { span, headOnly }).catch((error: unknown) => {
    // Until the asset knows, every URL that it signs ends here.
    if (error instanceof ArchiveLoss) noteLoss(delivery, door, error);
    if (error instanceof ArchiveLoss && error.replaced) throw superseded();
    throw new Refusal("UNAVAILABLE", "No tier can serve this proxy now. Try again shortly.", { cause: error });
  });
  // R2 failing is no reason to place what lies there already.
  if (!headOnly && (missedInEdge || !location.edgePlaced)) noteMiss(delivery, door);
  return { body, sizeBytes: archive.sizeBytes, span, lastModified: null, servedFrom: "wasabi" };
}

function superseded(): Refusal {
  return new Refusal("SUPERSEDED", "A newer rendition has replaced this one. Ask for a new playback URL.");
}

function locate(door: AssetDoor, target: PlaybackTarget): Promise<ProxyLocation> {
  const late = () => new Error(`the asset gave no answer within ${OBJECT_TIMEOUT_MS} ms`);
  return within(door.locateProxy(target.quality, target.jobId), OBJECT_TIMEOUT_MS, late).catch((cause: unknown) => {
    throw new Refusal("UNAVAILABLE", "This proxy cannot be found now. Try again shortly.", { cause });
  });
}

async function answer({ request, target, range, headOnly, nowMs }: Delivery, content: Content): Promise<Response> {
  const { body, span, servedFrom } = content;
  if (isUnmodifiedSince(request.headers, content.lastModified)) {
    await body?.cancel();
    return new Response(null, { status: 304, headers: cacheHeaders(target, nowMs) });
  }
  const partial = range.kind !== "whole";
  const headers = {
    ...cacheHeaders(target, nowMs),
    ...contentHeaders(target, { ...content, partial }),
    "x-served-from": servedFrom,
  };
  // The fixed length makes a tier that sends too little an error, never a short video.
  const sized = headOnly || body === null ? null : body.pipeThrough(new FixedLengthStream(span.to - span.from + 1));
  return new Response(sized, { status: partial ? 206 : 200, headers });
}

function isUnmodifiedSince(headers: Headers, lastModified: Date | null): boolean {
  if (lastModified === null || headers.has("if-none-match")) return false;
  const since = Date.parse(headers.get("if-modified-since") ?? "");
  return Number.isFinite(since) && Math.floor(lastModified.getTime() / 1000) <= Math.floor(since / 1000);
}

function outside(sizeBytes: number): Refusal {
  return new Refusal("RANGE_NOT_SATISFIABLE", `The file has ${sizeBytes} bytes.`, {
    headers: { "content-range": `bytes */${sizeBytes}`, "accept-ranges": "bytes" },
  });
}

function noteAccess(delivery: Delivery): void {
  const { env, target } = delivery;
  const { jobId, quality, fileId } = target;
  const event: AssetEvent = { type: "ProxyAccessed", tier: "r2", quality, jobId };
  note(delivery, assetDoor(env.ASSET, fileId), { name: "access", periodMs: HOUR_MS, event });
}

/** Asked for again each minute while it is missing: a proxy that leaves R2 may be wanted back within the hour. */
function noteMiss(delivery: Delivery, door: AssetDoor): void {
  const { jobId, quality } = delivery.target;
  note(delivery, door, { name: "promote", periodMs: MINUTE_MS, event: { type: "ProxyRequested", quality, jobId } });
}

function noteLoss(delivery: Delivery, door: AssetDoor, error: Error): void {
  const { jobId, quality } = delivery.target;
  const event: AssetEvent = { type: "ArchiveLost", quality, jobId, message: error.message };
  note(delivery, door, { name: "lost", periodMs: MINUTE_MS, event });
}

/** After the response, once per period and location; the viewer never waits for it nor hears of its failure. */
function note(
  { ctx, facts, target, nowMs }: Delivery,
  door: AssetDoor,
  { name, periodMs, event }: { name: string; periodMs: number; event: AssetEvent },
): void {
  const subject = `${target.jobId}:${target.quality}`;
  const period = { name: `${name}/${subject}`, lengthMs: periodMs };
  const report = async (count: number) => {
    await door.apply({ key: `${name}:${subject}:${count}`, by: "delivery", event });
  };
  ctx.waitUntil(
    onceIn(period, nowMs, report).catch((error: unknown) =>
      log({ event: "delivery.note-failed", ...facts, note: name }, error),
    ),
  );
}
