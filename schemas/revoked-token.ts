/** Bearer tokens that were ended before their time: one by its `jti`, or those of a `sub` issued before a moment. */
import { z } from "zod";
import { TokenClaims } from "./api.ts";

/** What is needed of a token to tell whether it is still good; kept with each open socket. */
export const TokenLife = TokenClaims.pick({ sub: true, jti: true, iat: true, exp: true });
export type TokenLife = z.infer<typeof TokenLife>;

const Moment = z.int().nonnegative().max(100_000_000_000, "must be seconds since 1970, not milliseconds");

export const Revocation = z
  .strictObject({
    /** One token. */
    jti: z.string().min(1).max(200).optional(),
    /** Or the tokens of this subject that were issued before a moment, or do not say when they were. */
    sub: z.string().min(1).max(1_000).optional(),
    /** Of `sub`, in seconds since 1970: now, unless told. */
    issuedBefore: Moment.optional(),
    /** When the last of the tokens ends, as their `exp`: the entry goes then. Without it the entry stays. */
    exp: Moment.optional(),
    reason: z.string().min(1).max(500),
  })
  .superRefine(({ jti, sub, issuedBefore }, ctx) => {
    if ((jti === undefined) === (sub === undefined)) {
      ctx.addIssue({ code: "custom", path: ["jti"], message: "must be given, or sub instead" });
    }
    if (jti !== undefined && issuedBefore !== undefined) {
      ctx.addIssue({ code: "custom", path: ["issuedBefore"], message: "goes with sub only" });
    }
  });
export type Revocation = z.infer<typeof Revocation>;

export const RevokedToken = z.object({
  kind: z.enum(["jti", "sub"]),
  value: z.string(),
  /** Seconds since 1970; null for a jti. */
  issuedBefore: z.int().nullable(),
  /** Seconds since 1970; null stays. */
  exp: z.int().nullable(),
  reason: z.string(),
  revokedAt: z.iso.datetime(),
  revokedBy: z.string(),
});
export type RevokedToken = z.infer<typeof RevokedToken>;

export const RevokedTokenPage = z.object({ tokens: z.array(RevokedToken), cursor: z.string().nullable() });

/** What closes a socket whose token is no longer good: an application's own code, as RFC 6455 leaves them. */
export const tokenEndedCode = 4401;

export interface DenyList {
  jtis: ReadonlySet<string>;
  /** By subject: tokens issued before then, in seconds since 1970. */
  subjects: ReadonlyMap<string, number>;
}

/** Why a token is no longer good; null while it is. Pure. */
export function tokenEnd({ sub, jti, iat, exp }: TokenLife, denied: DenyList | null, nowMs: number): string | null {
  if (exp * 1000 <= nowMs) return "The token has expired.";
  const issuedBefore = denied?.subjects.get(sub);
  const byJti = jti !== undefined && denied?.jtis.has(jti);
  const bySubject = issuedBefore !== undefined && (iat ?? Number.NEGATIVE_INFINITY) < issuedBefore;
  return byJti || bySubject ? "The token was revoked." : null;
}
