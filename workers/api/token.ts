/** Bearer tokens: HS256 JWTs by `kid`. Says who calls; what they may do is each route's. */
import { errors, jwtVerify } from "jose";
import { z } from "zod";
import { TokenClaims } from "../../schemas/api.ts";
import { firstOfEachPath, issueSentence } from "../../schemas/issue-sentence.ts";
import { tokenEnd } from "../../schemas/revoked-token.ts";
import { log } from "../log.ts";
import { Refusal } from "../problem.ts";
import type { Env, Keyring } from "../stores/config.ts";
import { denyList } from "../stores/revoked-token.ts";

/** @throws Refusal UNAUTHENTICATED */
export async function verifyToken(headers: Headers, keys: Keyring, nowMs: number): Promise<TokenClaims> {
  const token = /^Bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/i.exec(headers.get("authorization") ?? "");
  if (token?.[1] === undefined) throw unauthenticated("A bearer token is needed.");
  const verified = await jwtVerify(token[1], ({ kid }) => secretOf(keys, kid), {
    algorithms: ["HS256"],
    currentDate: new Date(nowMs),
    requiredClaims: ["exp"],
  }).catch((error: unknown) => {
    if (error instanceof errors.JWTExpired) throw unauthenticated("The bearer token has expired.");
    if (error instanceof errors.JOSEError || error instanceof Refusal) throw unauthenticated("The token is not valid.");
    throw error;
  });
  const claims = TokenClaims.safeParse(verified.payload, { error: issueSentence });
  if (!claims.success) throw unauthenticated(claimFault(claims.error.issues));
  return claims.data;
}

/** The token is ours, so its bearer may know what is wrong with it. Its values are not told. */
function claimFault(issues: readonly z.core.$ZodIssue[]): string {
  const faults = firstOfEachPath(issues).map(
    ({ path, message }) => `${z.core.toDotPath(path as (string | number)[])} ${message}`,
  );
  return `The token's claims are not valid: ${faults.join("; ")}.`;
}

function secretOf(keys: Keyring, kid: string | undefined): Uint8Array {
  const named = keys.find((key) => key.kid === kid);
  if (named === undefined) throw unauthenticated("The token is not valid.");
  return named.secret;
}

/** @throws Refusal UNAUTHENTICATED for a token that is over or was ended before its time */
export async function refuseEnded(
  claims: TokenClaims,
  { env, ctx, nowMs }: { env: Env; ctx: Pick<ExecutionContext, "waitUntil">; nowMs: number },
): Promise<void> {
  const denied = await denyList(env.CATALOGUE, nowMs, ctx, (fault) => log({ event: "token.denylist-unread" }, fault));
  const end = tokenEnd(claims, denied, nowMs);
  if (end !== null) throw unauthenticated(end);
}

export function unauthenticated(detail: string): Refusal {
  return new Refusal("UNAUTHENTICATED", detail, { headers: { "www-authenticate": "Bearer" } });
}

export function mayReachClient(claims: TokenClaims, clientName: string): boolean {
  return claims.clients.includes("*") || claims.clients.includes(clientName);
}
