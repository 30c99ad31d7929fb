/**
 * The token behind an open socket: kept with the socket, so that it outlives hibernation. A socket is closed when its token
 * is over, and looked at again and again meanwhile, because a token may be ended before its time.
 */
import { z } from "zod";
import { type DenyList, TokenLife, tokenEnd, tokenEndedCode } from "../schemas/revoked-token.ts";
import { log } from "../workers/log.ts";
import { denyList } from "../workers/stores/revoked-token.ts";

/** With the age of the list, within the minute that is promised. */
const lookEveryMs = 50_000;
const listAgeMs = 5_000;

const Attached = z.looseObject({ token: z.object({ life: TokenLife, lookAtMs: z.number() }) });
type AttachedToken = z.infer<typeof Attached>["token"];

/** Set by the worker's door, which has checked the token. */
const parameter = "token";

export function withToken(url: URL, { sub, jti, iat, exp }: TokenLife): URL {
  url.searchParams.set(parameter, JSON.stringify({ sub, jti, iat, exp }));
  return url;
}

/** For the socket's attachment. A door that an older version answers tells none: such a socket is not watched. */
export function tokenOf(query: URLSearchParams, nowMs: number): { token?: AttachedToken } {
  const told = query.get(parameter);
  return told === null ? {} : { token: { life: TokenLife.parse(JSON.parse(told)), lookAtMs: nowMs + lookEveryMs } };
}

/** Of a socket that is open. */
function attached(socket: WebSocket): z.infer<typeof Attached> | null {
  if (socket.readyState !== WebSocket.OPEN) return null;
  return Attached.safeParse(socket.deserializeAttachment()).data ?? null;
}

/** When the next of these sockets has to be looked at; null for none. */
export function nextLookAtMs(sockets: readonly WebSocket[]): number | null {
  const moments = sockets.flatMap((socket) => {
    const token = attached(socket)?.token;
    return token === undefined ? [] : [Math.min(token.lookAtMs, token.life.exp * 1000)];
  });
  return moments.length === 0 ? null : Math.min(...moments);
}

/** @returns true when the socket is closed by this */
function closeEnded(socket: WebSocket, denied: DenyList | null, nowMs: number): boolean {
  const attachment = attached(socket);
  if (attachment === null) return false;
  const { life } = attachment.token;
  const end = tokenEnd(life, denied, nowMs);
  if (end === null) socket.serializeAttachment({ ...attachment, token: { life, lookAtMs: nowMs + lookEveryMs } });
  else socket.close(tokenEndedCode, end);
  return end !== null;
}

type Tools = { database: D1Database; ctx: Pick<ExecutionContext, "waitUntil">; nowMs: number };

const onFault = (fault: unknown) => log({ event: "token.denylist-unread" }, fault);

/** For a socket that just spoke. @returns true when it may not, and is closed */
export async function isEnded(socket: WebSocket, { database, ctx, nowMs }: Tools): Promise<boolean> {
  return closeEnded(socket, await denyList(database, nowMs, ctx, onFault), nowMs);
}

/** For the alarm: looks at those that it is time for. */
export async function closeEndedSockets(sockets: readonly WebSocket[], tools: Tools): Promise<void> {
  const { database, ctx, nowMs } = tools;
  const due = sockets.filter((socket) => (nextLookAtMs([socket]) ?? Number.POSITIVE_INFINITY) <= nowMs);
  if (due.length === 0) return;
  const denied = await denyList(database, nowMs, ctx, onFault, listAgeMs);
  for (const socket of due) closeEnded(socket, denied, nowMs);
}
