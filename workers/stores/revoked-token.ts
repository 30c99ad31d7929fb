/**
 * The deny list of bearer tokens, in D1. Each isolate keeps a copy of at most half a minute, so that an entry is known
 * everywhere within a minute. While D1 is away the last copy holds, and an isolate that has none lets tokens in: else an
 * outage of D1 would be one of every door, and a key taken out of JWT_KEYS ends its tokens without D1.
 */
import { z } from "zod";
import { type DenyList, RevokedToken } from "../../schemas/revoked-token.ts";
import { auditing, type NewAuditEntry } from "./audit.ts";
import { answered } from "./catalogue.ts";
import { SharedRead } from "./shared-read.ts";

const freshMs = 30_000;
const readTimeoutMs = 2_000;
const retryMs = 5_000;

/** An earlier entry keeps the later moment of the two, and the later end. */
const upsert = `
INSERT INTO revoked_tokens (kind, value, issued_before, expires_at, reason, revoked_at, revoked_by)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (kind, value) DO UPDATE SET issued_before = max(issued_before, excluded.issued_before),
  expires_at = max(expires_at, excluded.expires_at), reason = excluded.reason, revoked_at = excluded.revoked_at,
  revoked_by = excluded.revoked_by`;

/** With its line in the record, or not at all. */
export async function revokeToken(database: D1Database, token: RevokedToken, audit: NewAuditEntry): Promise<void> {
  const { kind, value, issuedBefore, exp, reason, revokedAt, revokedBy } = token;
  const statement = database.prepare(upsert).bind(kind, value, issuedBefore, exp, reason, revokedAt, revokedBy);
  await answered(database.batch([statement, auditing(database, audit)]));
  lists.get(database)?.forget();
}

const Row = z
  .object({
    kind: z.unknown(),
    value: z.unknown(),
    issued_before: z.unknown(),
    expires_at: z.unknown(),
    reason: z.unknown(),
    revoked_at: z.unknown(),
    revoked_by: z.unknown(),
  })
  .transform((row) => ({
    kind: row.kind,
    value: row.value,
    issuedBefore: row.issued_before,
    exp: row.expires_at,
    reason: row.reason,
    revokedAt: row.revoked_at,
    revokedBy: row.revoked_by,
  }))
  .pipe(RevokedToken);

/** By kind and value. */
export async function listRevoked(
  database: D1Database,
  { after, limit }: { after: Pick<RevokedToken, "kind" | "value"> | null; limit: number },
): Promise<RevokedToken[]> {
  const statement = database
    .prepare("SELECT * FROM revoked_tokens WHERE (kind, value) > (?1, ?2) ORDER BY kind, value LIMIT ?3")
    .bind(after?.kind ?? "", after?.value ?? "", limit);
  return (await answered(statement.all())).results.map((row) => Row.parse(row));
}

/** A token that is over needs no entry. */
export async function forgetEndedTokens(database: D1Database, nowMs: number): Promise<void> {
  const statement = database.prepare("DELETE FROM revoked_tokens WHERE expires_at <= ?");
  await answered(statement.bind(Math.floor(nowMs / 1000)).run());
}

const Denied = z.object({ kind: z.enum(["jti", "sub"]), value: z.string(), issued_before: z.number().nullable() });

async function readList(database: D1Database): Promise<DenyList> {
  const { results } = await database.prepare("SELECT kind, value, issued_before FROM revoked_tokens").all();
  const rows = results.map((row) => Denied.parse(row));
  return {
    jtis: new Set(rows.filter(({ kind }) => kind === "jti").map(({ value }) => value)),
    subjects: new Map(rows.filter(({ kind }) => kind === "sub").map((row) => [row.value, row.issued_before ?? 0])),
  };
}

const lists = new WeakMap<D1Database, SharedRead<DenyList>>();

/**
 * @param onFault told once per read that failed
 * @param maxAgeMs of the copy; half a minute, unless told
 * @returns null when it could never be read
 */
export async function denyList(
  database: D1Database,
  nowMs: number,
  ctx: Pick<ExecutionContext, "waitUntil">,
  onFault: (fault: unknown) => void,
  maxAgeMs = freshMs,
): Promise<DenyList | null> {
  const known = lists.get(database);
  const list =
    known ?? new SharedRead({ read: () => readList(database), freshMs, timeoutMs: readTimeoutMs, retryMs, onFault });
  if (known === undefined) lists.set(database, list);
  return (await list.get(nowMs, ctx, maxAgeMs))?.value ?? null;
}
