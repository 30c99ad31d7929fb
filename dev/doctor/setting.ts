/** The settings of a deployment that doctor checks: from an env file, or from a local stack's stack.json. */
import { readFile } from "node:fs/promises";
import { parseEnv } from "node:util";
import { z } from "zod";
import type { S3Access } from "../s3.ts";
import type { StackFile } from "../stack-file.ts";

export type DoctorSettings = {
  apiUrl: string;
  adminToken: string;
  wasabi: S3Access;
  /** null: the uploader's key cannot be checked. */
  uploader: { accessKeyId: string; secretAccessKey: string } | null;
  /** null: the queues cannot be checked. */
  queues: { apiUrl: string; accountId: string; token: string } | null;
  /** An origin whose pages read originals by presigned URLs; null: CORS cannot be checked. */
  browserOrigin: string | null;
};

const Address = z
  .url({ protocol: /^https?$/, error: "must be an http or https URL" })
  .transform((url) => url.replace(/\/+$/, ""));
const Text = z.string({ error: "is missing" }).min(1, "is empty");
const optional = <Schema extends z.ZodType>(schema: Schema) =>
  z.union([z.literal("").transform(() => undefined), schema]).optional();

const EnvFile = z
  .object({
    API_URL: z.string({ error: "is missing" }).pipe(Address),
    ADMIN_TOKEN: Text.regex(/^[\w-]+\.[\w-]+\.[\w-]+$/, "must be a bearer token of role admin"),
    WASABI_ENDPOINT: z.string({ error: "is missing" }).pipe(Address),
    WASABI_REGION: Text,
    WASABI_BUCKET: Text,
    WASABI_ACCESS_KEY_ID: Text,
    WASABI_SECRET_ACCESS_KEY: Text,
    UPLOADER_ACCESS_KEY_ID: optional(Text),
    UPLOADER_SECRET_ACCESS_KEY: optional(Text),
    CLOUDFLARE_ACCOUNT_ID: optional(Text.regex(/^[\w-]{1,64}$/, "must be an account's id")),
    QUEUES_TOKEN: optional(Text),
    QUEUES_API_URL: optional(Address),
    BROWSER_ORIGIN: optional(
      Text.regex(/^https?:\/\/[^/\s]+$/, "must be an origin: a scheme and a host, without a path"),
    ),
  })
  .superRefine((file, ctx) => {
    for (const [one, other] of [
      ["UPLOADER_ACCESS_KEY_ID", "UPLOADER_SECRET_ACCESS_KEY"],
      ["CLOUDFLARE_ACCOUNT_ID", "QUEUES_TOKEN"],
    ] as const) {
      if ((file[one] === undefined) === (file[other] === undefined)) continue;
      const [lacks, has] = file[one] === undefined ? [one, other] : [other, one];
      ctx.addIssue({ code: "custom", path: [lacks], message: `is missing: ${has} is of no use without it` });
    }
  });

const cloudflareApi = "https://api.cloudflare.com/client/v4";

export class SettingsError extends Error {
  override readonly name = "SettingsError";
}

/** @throws SettingsError naming every setting that is wrong, never its value */
export function settingsOf(text: string): DoctorSettings {
  const parsed = EnvFile.safeParse(parseEnv(text));
  if (!parsed.success) {
    throw new SettingsError(parsed.error.issues.map(({ path, message }) => `${path.join(".")} ${message}`).join("; "));
  }
  const file = parsed.data;
  return {
    apiUrl: file.API_URL,
    adminToken: file.ADMIN_TOKEN,
    wasabi: {
      endpoint: file.WASABI_ENDPOINT,
      region: file.WASABI_REGION,
      bucket: file.WASABI_BUCKET,
      accessKeyId: file.WASABI_ACCESS_KEY_ID,
      secretAccessKey: file.WASABI_SECRET_ACCESS_KEY,
    },
    uploader:
      file.UPLOADER_ACCESS_KEY_ID === undefined || file.UPLOADER_SECRET_ACCESS_KEY === undefined
        ? null
        : { accessKeyId: file.UPLOADER_ACCESS_KEY_ID, secretAccessKey: file.UPLOADER_SECRET_ACCESS_KEY },
    queues:
      file.CLOUDFLARE_ACCOUNT_ID === undefined || file.QUEUES_TOKEN === undefined
        ? null
        : {
            apiUrl: file.QUEUES_API_URL ?? cloudflareApi,
            accountId: file.CLOUDFLARE_ACCOUNT_ID,
            token: file.QUEUES_TOKEN,
          },
    browserOrigin: file.BROWSER_ORIGIN ?? null,
  };
}

/** @throws SettingsError */
export async function readSettings(path: string): Promise<DoctorSettings> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new SettingsError(`cannot be read (${error.code ?? error.name})`);
  });
  return settingsOf(text);
}

export function settingsOfStack(file: StackFile): DoctorSettings {
  return {
    apiUrl: file.api,
    adminToken: file.tokens.admin,
    wasabi: file.wasabi,
    uploader: null,
    queues: file.queues ?? null,
    browserOrigin: null,
  };
}
