/** Live status: WebSockets of one asset and of many, and the one-use tickets that browsers open them with. */
import { z } from "zod";
import { assetDoor } from "../../durable-objects/asset-door.ts";
import { feedDoor, ticketDoor } from "../../durable-objects/feed-door.ts";
import { withToken } from "../../durable-objects/socket-token.ts";
import { StatusFrame, Ticket, type TokenClaims } from "../../schemas/api.ts";
import { FileId, Slug } from "../../schemas/id.ts";
import { Refusal } from "../problem.ts";
import { watchedRetention } from "../stores/retained.ts";
import { termsOf } from "../stores/retention-policy.ts";
import { assetFor } from "./asset-scope.ts";
import { peopleRoles } from "./role.ts";
import { reply, route } from "./route.ts";
import { mayReachClient } from "./token.ts";

/** The upgrade as an object sees it: the caller is admitted, so that of the token only its life goes further. */
export function upgradeRequest(url: URL, caller: TokenClaims): Request {
  return new Request(withToken(url, caller), { headers: { upgrade: "websocket" } });
}

export const assetStatus = route({
  method: "GET",
  path: "/v1/assets/{fileId}/status",
  summary: "WebSocket: the asset as it is, then every change and its progress.",
  access: { by: "token", roles: peopleRoles },
  socket: true,
  params: z.strictObject({ fileId: FileId }),
  answers: { 101: StatusFrame },
  async handle({ env, caller }, { params }) {
    const asset = await assetFor(env, caller, params.fileId);
    const retention = await watchedRetention(env);
    const url = new URL("https://object/status");
    if (retention !== null) url.searchParams.set("terms", JSON.stringify(termsOf(retention, asset)));
    return assetDoor(env.ASSET, params.fileId).fetch(upgradeRequest(url, caller));
  },
});

export const feedStatus = route({
  method: "GET",
  path: "/v1/status",
  summary: "WebSocket: changes of many assets, of one client and project or of all that the token may see.",
  access: { by: "token", roles: peopleRoles },
  socket: true,
  query: z.strictObject({ client: Slug.optional(), project: Slug.optional() }),
  answers: { 101: StatusFrame },
  async handle({ env, caller }, { query }) {
    const only = caller.clients.length === 1 && caller.clients[0] !== "*" ? caller.clients[0] : undefined;
    const client = query.client ?? only;
    if (client === undefined && !caller.clients.includes("*")) {
      throw new Refusal("BAD_REQUEST", "The request's query is not valid.", {
        errors: [{ path: "client", message: `must name one of ${caller.clients.join(", ")}` }],
      });
    }
    if (client !== undefined && !mayReachClient(caller, client)) {
      throw new Refusal("NOT_FOUND", "There is no such client.");
    }
    const url = new URL("https://feed/status");
    if (client !== undefined) url.searchParams.set("client", client);
    if (query.project !== undefined) url.searchParams.set("project", query.project);
    return feedDoor(env.FEED, client ?? "*").fetch(upgradeRequest(url, caller));
  },
});

export const issueTicket = route({
  method: "POST",
  path: "/v1/tickets",
  summary: "A ticket that opens one socket as ?ticket=, for clients that cannot send headers with it.",
  access: { by: "token", roles: peopleRoles },
  answers: { 200: Ticket },
  async handle({ env, caller }) {
    const { ticket, expiresAtMs } = await ticketDoor(env.FEED).issueTicket(caller);
    return reply(200, { ticket, expiresAt: new Date(expiresAtMs).toISOString() });
  },
});
