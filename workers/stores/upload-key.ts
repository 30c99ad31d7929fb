/** The keys that sign upload webhooks: whom each speaks for, and which sources it may name. */
import { z } from "zod";
import { notWellFormed, Slug, wellFormed } from "../../schemas/id.ts";
import { jsonText, Kid, type NamedKey, WebhookSecret } from "./secret-text.ts";

export interface UploadKey extends NamedKey {
  /** "*": every client. */
  clients: "*" | readonly string[];
  /** Of the bucket's objects, those it may name; null leaves it to `clients`. */
  sourcePrefixes: readonly string[] | null;
  /** Of the hosts that an original may be fetched from; null: any. */
  sourceHosts: readonly string[] | null;
}

/** A call that does not name its key is checked against each of them. */
const mostKeys = 50;

const isFolder = (prefix: string) =>
  prefix.split("/").every((part, index, parts) => (index === parts.length - 1 ? part === "" : isName(part)));
const isName = (part: string) => part !== "" && part !== "." && part !== "..";

/** Whole folders, so that `originals/acme` cannot let `originals/acme-films/` in. */
const Prefix = z
  .string()
  .refine(wellFormed, notWellFormed)
  .refine(
    (prefix) => prefix.length > 1 && isFolder(prefix),
    "must be a folder such as incoming/acme/, with / at its end",
  );

const Host = z.string().regex(/^[a-z0-9.-]+(:\d+)?$/, "must be a host in lower case, with its port where it has one");

const Entry = z.strictObject({
  secret: WebhookSecret,
  clients: z.union([z.literal("*"), z.array(Slug).min(1)], '"*", or the names of clients'),
  sourcePrefixes: z.array(Prefix).min(1).nullable().default(null),
  sourceHosts: z.array(Host).nullable().default(null),
});

export const UploadKeysText = jsonText.pipe(z.record(Kid, Entry)).transform((entries, ctx): UploadKey[] => {
  const keys = Object.entries(entries).map(([kid, entry]) => ({ kid, ...entry }));
  if (keys.length >= 1 && keys.length <= mostKeys) return keys;
  ctx.addIssue({ code: "custom", message: `must hold 1 to ${mostKeys} keys` });
  return z.NEVER;
});

/** The one secret of a deployment that gives nobody a key of their own. */
export const keyForAll = (secret: NamedKey["secret"]): UploadKey => ({
  kid: "default",
  secret,
  clients: "*",
  sourcePrefixes: null,
  sourceHosts: null,
});
