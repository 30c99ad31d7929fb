/**
 * Delivery: GET|HEAD /proxies/{jobId}/{quality}.mp4 with a signed query. A hit on R2 asks nobody else; a miss streams the
 * same bytes from Wasabi at once, and has the proxy brought to R2 behind the viewer's back.
 */
import { readBody } from "../body.ts";
import { log } from "../log.ts";
import { verifyPlaybackUrl } from "../playback-url.ts";
import { problemResponse, Refusal, type RequestFacts } from "../problem.ts";
import { type Env, readConfig } from "../stores/config.ts";
import { recordServed, unservedCause } from "../stores/delivery-count.ts";
import { parseRange, whole } from "./byte-range.ts";
import type { Content, Delivery } from "./delivery.ts";
import { noteUnserved } from "./note.ts";
import { ifRange, judge } from "./precondition.ts";
import { cacheHeaders, contentHeaders, corsHeaders, preflightHeaders, proxyEtag } from "./proxy-headers.ts";
import { type Relay, relayed } from "./relay.ts";
import { createCounter, type Outcome, type Tally } from "./tally.ts";
import { find, findRest } from "./tier.ts";

type Background = Pick<ExecutionContext, "waitUntil">;

const counter = createCounter();
/** An alert that was not raised again for so long, while tiers serve, is over. */
const CALM_MS = 5 * 60_000;

export function isDeliveryPath(request: Request): boolean {
  return new URL(request.url).pathname.startsWith("/proxies/");
}

export async function handleDelivery(request: Request, env: Env, ctx: Background): Promise<Response> {
  const url = new URL(request.url);
  const facts = { requestId: crypto.randomUUID(), method: request.method, path: url.pathname };
  let response: Response;
  try {
    response = await deliver(request, url, env, ctx, facts);
  } catch (thrown) {
    if (thrown instanceof Refusal && thrown.code === "UNAVAILABLE") count(env, ctx, "none", facts);
    response = problemResponse(thrown, facts);
  }
  for (const [name, value] of Object.entries(corsHeaders)) response.headers.set(name, value);
  response.headers.set("x-request-id", facts.requestId);
  return response;
}

async function deliver(request: Request, url: URL, env: Env, ctx: Background, facts: RequestFacts): Promise<Response> {
  if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: preflightHeaders });
  if (request.method !== "GET" && request.method !== "HEAD") {
    const allow = "GET, HEAD, OPTIONS";
    throw new Refusal("METHOD_NOT_ALLOWED", `This address answers ${allow}.`, { headers: { allow } });
  }
  await readBody(request);
  const config = readConfig(env);
  const nowMs = Date.now();
  const target = await verifyPlaybackUrl(url, config.playbackKeys, nowMs);
  if (target === null) throw new Refusal("NOT_FOUND", "There is no such proxy.");
  const { headers } = request;
  const etag = proxyEtag(target);
  const headOnly = request.method === "HEAD";
  const delivery: Delivery = { env, config, ctx, facts, target, range: whole, headOnly, nowMs };
  // The ETag follows from the URL: a client that has the bytes already costs no tier anything.
  const early = conditional(delivery, judge(headers, { etag, lastModified: undefined }));
  if (early !== null) return early;
  if (!headOnly && headers.has("range") && (await rangeHolds(delivery, headers))) {
    delivery.range = parseRange(headers.get("range"));
  }
  const content = await find(delivery);
  const dated = headers.has("if-modified-since") || headers.has("if-unmodified-since");
  const verdict = dated ? judge(headers, { etag, lastModified: content.lastModified }) : "proceed";
  // First, as a refusal is thrown.
  if (verdict !== "proceed") void content.body?.cancel().catch(() => undefined);
  return conditional(delivery, verdict) ?? answer(delivery, content);
}

async function rangeHolds(delivery: Delivery, headers: Headers): Promise<boolean> {
  const etag = proxyEtag(delivery.target);
  const known = ifRange(headers, { etag, lastModified: undefined });
  if (known !== "unread") return known === "holds";
  const { lastModified } = await find({ ...delivery, headOnly: true });
  return ifRange(headers, { etag, lastModified }) === "holds";
}

function conditional({ target, nowMs }: Delivery, verdict: ReturnType<typeof judge>): Response | null {
  if (verdict === "proceed") return null;
  if (verdict === "not-modified") return new Response(null, { status: 304, headers: cacheHeaders(target, nowMs) });
  throw new Refusal("PRECONDITION_FAILED", "The file is not the one that If-Match or If-Unmodified-Since names.");
}

function answer(delivery: Delivery, content: Content): Response {
  const { env, ctx, facts, target, range, nowMs } = delivery;
  const { body, servedFrom } = content;
  count(env, ctx, servedFrom, facts);
  const partial = range.kind !== "whole";
  const headers = {
    ...cacheHeaders(target, nowMs),
    ...contentHeaders(target, { ...content, partial }),
    // The copy in the location's cache is R2's.
    ...(servedFrom === "cache" ? { "x-served-from": "r2", "x-cache": "hit" } : { "x-served-from": servedFrom }),
  };
  const status = partial ? 206 : 200;
  if (body === null) return new Response(null, { status, headers });
  const { stream, ended } = relayed(body, relayOf(delivery, content));
  const record = () => recordTally(env, ctx, counter.ended(servedFrom, Date.now()), facts);
  // Kept alive so that the end is seen even where the viewer leaves first.
  if (ended !== null) ctx.waitUntil(ended.then(record));
  else record();
  return new Response(stream, { status, headers });
}

function relayOf(delivery: Delivery, { span, servedFrom, giveUp }: Content): Relay {
  let tier = servedFrom;
  const tell = (atByte: number | null, cause: unknown) =>
    log({ event: "delivery.broken-off", ...delivery.facts, servedFrom: tier, atByte }, cause);
  return {
    span,
    giveUp,
    onBytes(bytes) {
      const nowMs = Date.now();
      counter.bytes(tier, bytes, nowMs);
      recordTally(delivery.env, delivery.ctx, counter.due(nowMs), delivery.facts);
    },
    onExhausted: (cause) => noteUnserved(nowOf(delivery), cause, "its tiers answer and break off again and again"),
    onBroken: (cause) => tell(null, cause),
    async resume(from, cause) {
      tell(from, cause);
      const rest = await findRest(nowOf(delivery), tier, { from, to: span.to });
      if (rest !== null) tier = rest.servedFrom;
      return rest?.body ?? null;
    },
  };
}

/** A response may last for hours; what is noted of it then happens then. */
const nowOf = (delivery: Delivery): Delivery => ({ ...delivery, nowMs: Date.now() });

function count(env: Env, ctx: Background, outcome: Outcome, facts: RequestFacts): void {
  const nowMs = Date.now();
  recordTally(env, ctx, counter.due(nowMs), facts);
  counter.request(outcome, nowMs);
}

function recordTally(env: Env, ctx: Background, tally: Tally | null, facts: RequestFacts): void {
  if (tally === null) return;
  const nowMs = Date.now();
  const recording = recordServed(env.CATALOGUE, servedOf(tally, nowMs)).then(
    () => log({ event: "delivery.served", tiers: tally }),
    (error: unknown) => {
      counter.putBack(tally, nowMs);
      log({ event: "delivery.note-failed", ...facts, note: "count" }, error);
    },
  );
  ctx.waitUntil(recording);
}

function servedOf(tally: Tally, nowMs: number) {
  const iso = (atMs: number) => new Date(atMs).toISOString();
  const counts = Object.entries(tally).map(([servedFrom, count]) => ({ servedFrom, ...count }));
  const served = Object.keys(tally).some((outcome) => outcome !== "none");
  const disproves = served ? { cause: unservedCause, lastRaisedBefore: iso(nowMs - CALM_MS) } : null;
  return { at: iso(nowMs), counts, disproves };
}
