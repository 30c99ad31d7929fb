/**
 * What a route is: one entry says its path, who may call it, what it reads and what it answers. The router and
 * openapi.json are both made from these entries, so the one cannot drift from the other.
 */
import { z } from "zod";
import { ticketDoor } from "../../durable-objects/feed-door.ts";
import type { Role, TokenClaims } from "../../schemas/api.ts";
import { parseJson, readBody } from "../body.ts";
import { parseInput, Refusal } from "../problem.ts";
import type { Config, Env } from "../stores/config.ts";
import type { NamedKey } from "../stores/secret-text.ts";
import { verifyWebhook } from "../webhook-signature.ts";
import { refuseEnded, unauthenticated, verifyToken } from "./token.ts";

export interface Visit {
  request: Request;
  env: Env;
  config: Config;
  ctx: Pick<ExecutionContext, "waitUntil">;
  nowMs: number;
  requestId: string;
  /** As the router found them, unchecked. */
  params: Record<string, string | undefined>;
}

/** `token`: a bearer token of one of these roles. `signature`: a Standard Webhooks signature. */
interface AccessBy {
  anyone: object;
  token: { roles: readonly Role[] };
  signature: { keysOf(config: Config): readonly NamedKey[] };
}
interface CallerBy {
  anyone: null;
  token: TokenClaims;
  signature: { webhookId: string; kid: string };
}
type By = keyof AccessBy;
export type Access = { [Kind in By]: { by: Kind } & AccessBy[Kind] }[By];

export type Answers = Readonly<Record<number, z.ZodType>>;
type Answer<A extends Answers> = { [Status in keyof A]: { status: Status; body: z.infer<A[Status]> } }[keyof A];

/** An answer, its status kept as a literal so that the body is checked against that status's schema. */
export function reply<Status extends number, Body>(status: Status, body: Body): { status: Status; body: Body } {
  return { status, body };
}

/** What a route tells of itself. */
export interface RouteFacts {
  method: "GET" | "POST" | "PUT" | "DELETE";
  /** As OpenAPI writes it: /v1/assets/{fileId} */
  path: string;
  summary: string;
  access: Access;
  /** A WebSocket: asked for after the caller is admitted. */
  socket: boolean;
  params: z.ZodObject;
  query: z.ZodObject;
  body: z.ZodType | null;
  answers: Answers;
}

export interface Route extends RouteFacts {
  answer(visit: Visit): Promise<Response>;
}

interface Spec<
  Kind extends By,
  Params extends z.ZodObject,
  Query extends z.ZodObject,
  Body extends z.ZodType,
  A extends Answers,
> {
  method: RouteFacts["method"];
  path: string;
  summary: string;
  access: { by: Kind } & AccessBy[Kind];
  socket?: boolean;
  params?: Params;
  query?: Query;
  body?: Body;
  answers: A;
  handle(
    call: Visit & { caller: CallerBy[Kind] },
    input: { params: z.infer<Params>; query: z.infer<Query>; body: z.infer<Body> },
  ): Promise<Answer<A> | Response>;
}

const Nothing = z.strictObject({});

/** Admits the caller first, then reads the input, so that a stranger learns nothing from field errors. */
export function route<
  Kind extends By,
  A extends Answers,
  Params extends z.ZodObject = typeof Nothing,
  Query extends z.ZodObject = typeof Nothing,
  Body extends z.ZodType = typeof Nothing,
>(spec: Spec<Kind, Params, Query, Body, A>): Route {
  const facts: RouteFacts = {
    method: spec.method,
    path: spec.path,
    summary: spec.summary,
    access: spec.access as Access,
    socket: spec.socket ?? false,
    params: spec.params ?? Nothing,
    query: spec.query ?? Nothing,
    body: spec.body ?? null,
    answers: spec.answers,
  };
  return {
    ...facts,
    async answer(visit) {
      const { caller, rawBody } = await admit(facts, visit);
      if (facts.socket && visit.request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
        throw new Refusal("UPGRADE_REQUIRED", "Connect here with a WebSocket.", { headers: { upgrade: "websocket" } });
      }
      const url = new URL(visit.request.url);
      const params = parseInput(facts.params, visit.params, "path");
      const query = parseInput(facts.query, queryOf(url, facts), "query");
      const body = await readInput(facts, visit, rawBody);
      const answer = await spec.handle({ ...visit, caller: caller as CallerBy[Kind] }, {
        params,
        query,
        body,
      } as Parameters<typeof spec.handle>[1]);
      return answer instanceof Response ? answer : jsonResponse(Number(answer.status), answer.body, visit.requestId);
    },
  };
}

interface Admitted {
  caller: CallerBy[By];
  /** Read already where the signature covers it. */
  rawBody: Uint8Array<ArrayBuffer> | null;
}

async function admit(facts: RouteFacts, visit: Visit): Promise<Admitted> {
  const { access } = facts;
  switch (access.by) {
    case "anyone":
      return { caller: null, rawBody: null };
    case "signature": {
      const rawBody = await readBody(visit.request);
      const keys = access.keysOf(visit.config);
      const { id, key } = await verifyWebhook(visit.request.headers, rawBody, keys, visit.nowMs);
      return { caller: { webhookId: id, kid: key.kid }, rawBody };
    }
    case "token": {
      const claims = facts.socket ? await claimsOfSocket(visit) : await claimsOfHeader(visit);
      if (!access.roles.includes(claims.role)) {
        throw new Refusal(
          "FORBIDDEN",
          `This needs a token of role ${access.roles.join(", ")}; yours is ${claims.role}.`,
        );
      }
      return { caller: claims, rawBody: null };
    }
  }
}

async function claimsOfHeader(visit: Visit): Promise<TokenClaims> {
  const { request, config, nowMs } = visit;
  const claims = await verifyToken(request.headers, config.jwtKeys, nowMs);
  await refuseEnded(claims, visit);
  return claims;
}

async function claimsOfSocket(visit: Visit): Promise<TokenClaims> {
  const ticket = new URL(visit.request.url).searchParams.get("ticket");
  if (visit.request.headers.has("authorization") || ticket === null) return claimsOfHeader(visit);
  const claims = ticket.length > 200 ? null : await ticketDoor(visit.env.FEED).redeemTicket(ticket);
  if (claims === null || claims.exp * 1000 <= visit.nowMs) throw unauthenticated("The ticket is spent or has expired.");
  await refuseEnded(claims, visit);
  return claims;
}

function queryOf(url: URL, facts: RouteFacts): Record<string, unknown> {
  const query: Record<string, unknown> = {};
  for (const name of new Set(url.searchParams.keys())) {
    if (facts.socket && name === "ticket") continue;
    const values = url.searchParams.getAll(name);
    query[name] = values.length === 1 ? values[0] : values;
  }
  return query;
}

async function readInput(facts: RouteFacts, { request }: Visit, rawBody: Admitted["rawBody"]): Promise<unknown> {
  // Also where it is not wanted: its limit holds for every route.
  const body = rawBody ?? (await readBody(request));
  return facts.body === null ? {} : parseInput(facts.body, parseJson(request.headers, body), "body");
}

export function jsonResponse(status: number, body: unknown, requestId: string): Response {
  return Response.json(body, { status, headers: { "cache-control": "no-store", "x-request-id": requestId } });
}
