/** Ending bearer tokens before their time, one by one or all earlier ones of a subject, and which were. */
import { z } from "zod";
import { Revocation, RevokedToken, RevokedTokenPage } from "../../schemas/revoked-token.ts";
import { Refusal } from "../problem.ts";
import { listRevoked, revokeToken } from "../stores/revoked-token.ts";
import { mustReachAll, operatorName, operators } from "./operator.ts";
import { reply, route } from "./route.ts";

const PAGE_LENGTH = 200;
const path = "/v1/admin/tokens";

const Cursor = z
  .string()
  .regex(/^(jti|sub):.{1,1000}$/s, "must be a cursor from an earlier page")
  .transform((text) => ({ kind: text.slice(0, 3) as RevokedToken["kind"], value: text.slice(4) }));

export const revokeTokens = route({
  method: "POST",
  path: `${path}/revoke`,
  summary:
    "Ends a token by its jti, or a subject's earlier tokens; known everywhere within a minute, sockets included.",
  access: operators,
  body: Revocation,
  answers: { 200: RevokedToken },
  async handle({ env, caller, nowMs }, { body }) {
    mustReachAll(caller);
    // Whatever was issued up to this second.
    const nextSecond = Math.floor(nowMs / 1000) + 1;
    const { jti, sub, issuedBefore = nextSecond, exp = null, reason } = body;
    if (issuedBefore > nextSecond) {
      const errors = [{ path: "issuedBefore", message: "must not lie ahead" }];
      throw new Refusal("BAD_REQUEST", "The request's body is not valid.", { errors });
    }
    const revokedAt = new Date(nowMs).toISOString();
    const revokedBy = operatorName(caller);
    const named =
      jti === undefined
        ? { kind: "sub" as const, value: sub ?? "", issuedBefore }
        : { kind: "jti" as const, value: jti, issuedBefore: null };
    const token = { ...named, exp, reason, revokedAt, revokedBy };
    const about = { action: "token.revoked", clientName: null, projectName: null, fileId: null };
    await revokeToken(env.CATALOGUE, token, {
      at: revokedAt,
      by: revokedBy,
      ...about,
      detail: { ...named, exp, reason },
    });
    return reply(200, token);
  },
});

export const revokedTokens = route({
  method: "GET",
  path: `${path}/revoked`,
  summary: "The tokens that were ended and would not be over by themselves.",
  access: operators,
  query: z.strictObject({ cursor: Cursor.optional() }),
  answers: { 200: RevokedTokenPage },
  async handle({ env, caller }, { query: { cursor: after = null } }) {
    mustReachAll(caller);
    const tokens = await listRevoked(env.CATALOGUE, { after, limit: PAGE_LENGTH });
    const last = tokens.length === PAGE_LENGTH ? tokens.at(-1) : undefined;
    return reply(200, { tokens, cursor: last === undefined ? null : `${last.kind}:${last.value}` });
  },
});
