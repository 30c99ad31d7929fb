/** What the operators' doors share: who may order, under which name it is kept, and times that must lie ahead. */
import type { TokenClaims } from "../../schemas/api.ts";
import { Refusal } from "../problem.ts";
import type { Env } from "../stores/config.ts";
import { isProject } from "../stores/project-run.ts";
import { mayReachClient } from "./token.ts";

export const operators = { by: "token", roles: ["admin"] } as const;

export const operatorName = ({ sub }: TokenClaims) => `admin:${sub}`.slice(0, 200);

/** @throws Refusal FORBIDDEN for a token of some clients: this concerns all of them */
export function mustReachAll(claims: TokenClaims): void {
  if (claims.clients.includes("*")) return;
  throw new Refusal("FORBIDDEN", 'This concerns every client: it needs a token for ["*"].');
}

/** @throws Refusal NOT_FOUND where the token does not reach, or nothing is */
export async function projectFor(
  env: Env,
  claims: TokenClaims,
  { client, project }: { client: string; project: string },
): Promise<{ clientName: string; projectName: string }> {
  const found = { clientName: client, projectName: project };
  if (!mayReachClient(claims, client) || !(await isProject(env.CATALOGUE, found))) {
    throw new Refusal("NOT_FOUND", "There is no such project.");
  }
  return found;
}

const longestMs = 10 * 365 * 24 * 60 * 60_000;

/** @throws Refusal BAD_REQUEST naming the field */
export function aheadMs(until: string, nowMs: number): number {
  const untilMs = Date.parse(until);
  if (untilMs > nowMs && untilMs <= nowMs + longestMs) return untilMs;
  const message = untilMs > nowMs ? "must be within ten years" : "must lie ahead";
  throw new Refusal("BAD_REQUEST", "The request's body is not valid.", { errors: [{ path: "until", message }] });
}
