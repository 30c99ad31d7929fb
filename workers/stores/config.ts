/**
 * The worker's bindings (`Env`) and its settings, checked (`readConfig`). It lies among the stores because every room
 * above them needs it, the Durable Objects too, and imports only point down.
 */
import { z } from "zod";
import { Policy } from "../../schemas/policy.ts";
import type { PulledQueue } from "../../schemas/runner-protocol.ts";
import { bytesOfBase64, jsonText, Kid, type NamedKey, WebhookSecret } from "./secret-text.ts";
import { keyForAll, type UploadKey, UploadKeysText } from "./upload-key.ts";

/** What wrangler.toml binds; the objects are reached through their doors, so their classes are not named here. */
export interface Env extends Omit<Cloudflare.Env, "ASSET" | "FEED" | "PULL"> {
  ASSET: DurableObjectNamespace;
  FEED: DurableObjectNamespace;
  PULL: DurableObjectNamespace;
  UPLOAD_WEBHOOK_KEYS?: string;
}

/** At least one key; the first signs, all verify, so that keys can be replaced without an outage. */
export type Keyring = readonly [NamedKey, ...NamedKey[]];

export interface WasabiConfig {
  endpoint: string;
  region: string;
  bucket: string;
  accessKeyId: string;
  secretAccessKey: string;
}

/** Cloudflare's API of the queues that runners take jobs from. */
export interface PullConfig {
  /** Without a slash at its end. */
  apiUrl: string;
  accountId: string;
  token: string;
  queueIds: Readonly<Record<PulledQueue, string>>;
}

export interface Config {
  environment: string;
  /** Without a slash at its end. */
  publicUrl: string;
  wasabi: WasabiConfig;
  pull: PullConfig;
  /** null: this deployment has no LucidLink. */
  lucidAgent: { url: string; token: string } | null;
  lucidAgentCallbackSecret: Uint8Array<ArrayBuffer>;
  uploadKeys: readonly UploadKey[];
  /** null: no application is told. */
  appWebhook: { url: string; secret: Uint8Array<ArrayBuffer> } | null;
  jwtKeys: Keyring;
  playbackKeys: Keyring;
  policy: Policy;
}

const Address = z
  .url({ protocol: /^https?$/, error: "must be an http or https URL" })
  .transform((url) => url.replace(/\/+$/, ""));
const OptionalAddress = z.union([z.literal(""), Address]);
const Text = z.string().min(1, "must not be empty");

/** A part of an address. */
const CloudflareId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "must be an id: 1–64 characters of A–Z a–z 0–9 _ -");

const KeySecret = z
  .string()
  .regex(/^[A-Za-z0-9_-]{43,}$/, "must be at least 32 bytes in base64url without padding")
  .transform((text) => bytesOfBase64(text.replaceAll("-", "+").replaceAll("_", "/")));

const KeyringText = jsonText.pipe(z.record(Kid, KeySecret)).transform((keys, ctx): Keyring => {
  const [first, ...rest] = Object.entries(keys).map(([kid, secret]) => ({
    kid,
    secret,
  }));
  if (first !== undefined) return [first, ...rest];
  ctx.addIssue({ code: "custom", message: "must hold at least one key" });
  return z.NEVER;
});

const Settings = z.object({
  ENVIRONMENT: Text,
  PUBLIC_URL: Address,
  WASABI_ENDPOINT: Address,
  WASABI_REGION: Text,
  WASABI_BUCKET: Text,
  WASABI_ACCESS_KEY_ID: Text,
  WASABI_SECRET_ACCESS_KEY: Text,
  QUEUES_API_URL: Address,
  CLOUDFLARE_ACCOUNT_ID: CloudflareId,
  TRANSCODE_QUEUE_ID: CloudflareId,
  TRANSCODE_RUSH_QUEUE_ID: CloudflareId,
  QUEUES_TOKEN: Text,
  LUCID_AGENT_URL: OptionalAddress,
  LUCID_AGENT_TOKEN: Text,
  LUCID_AGENT_CALLBACK_SECRET: WebhookSecret,
  UPLOAD_WEBHOOK_SECRET: WebhookSecret,
  UPLOAD_WEBHOOK_KEYS: UploadKeysText.optional(),
  APP_WEBHOOK_URL: OptionalAddress,
  APP_WEBHOOK_SECRET: WebhookSecret,
  JWT_KEYS: KeyringText,
  PLAYBACK_KEYS: KeyringText,
  POLICY: jsonText.pipe(Policy),
  CLOCK_OFFSET_MS: z.string().regex(/^-?\d{1,13}$/, "must be a whole number of milliseconds"),
});

const movesTheClock = "may differ from 0 in tests only";

export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** @throws ConfigError naming every field that is wrong; never its value, which may be a secret. */
export function parseConfig(env: z.input<typeof Settings>): Config {
  const result = Settings.safeParse(env);
  if (!result.success) {
    const faults = result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
    throw new ConfigError(`The worker's settings are not valid. ${faults.join("; ")}`);
  }
  const settings = result.data;
  if (settings.ENVIRONMENT === "production" && Number(settings.CLOCK_OFFSET_MS) !== 0) {
    throw new ConfigError(`The worker's settings are not valid. CLOCK_OFFSET_MS: ${movesTheClock}`);
  }
  const hasLucidLink = settings.LUCID_AGENT_URL !== "";
  const policy = settings.POLICY;
  return {
    environment: settings.ENVIRONMENT,
    publicUrl: settings.PUBLIC_URL,
    wasabi: {
      endpoint: settings.WASABI_ENDPOINT,
      region: settings.WASABI_REGION,
      bucket: settings.WASABI_BUCKET,
      accessKeyId: settings.WASABI_ACCESS_KEY_ID,
      secretAccessKey: settings.WASABI_SECRET_ACCESS_KEY,
    },
    pull: {
      apiUrl: settings.QUEUES_API_URL,
      accountId: settings.CLOUDFLARE_ACCOUNT_ID,
      token: settings.QUEUES_TOKEN,
      queueIds: {
        transcode: settings.TRANSCODE_QUEUE_ID,
        "transcode-rush": settings.TRANSCODE_RUSH_QUEUE_ID,
      },
    },
    lucidAgent: hasLucidLink ? { url: settings.LUCID_AGENT_URL, token: settings.LUCID_AGENT_TOKEN } : null,
    lucidAgentCallbackSecret: settings.LUCID_AGENT_CALLBACK_SECRET,
    uploadKeys: settings.UPLOAD_WEBHOOK_KEYS ?? [keyForAll(settings.UPLOAD_WEBHOOK_SECRET)],
    appWebhook:
      settings.APP_WEBHOOK_URL === ""
        ? null
        : {
            url: settings.APP_WEBHOOK_URL,
            secret: settings.APP_WEBHOOK_SECRET,
          },
    jwtKeys: settings.JWT_KEYS,
    playbackKeys: settings.PLAYBACK_KEYS,
    policy: {
      ...policy,
      // Without an agent a copy wanted in LucidLink could never be placed, and no asset would ever be distributed.
      placement: {
        ...policy.placement,
        lucidlink: policy.placement.lucidlink && hasLucidLink,
      },
    },
  };
}

const configs = new WeakMap<object, Config>();

/** The settings of this isolate, read once. @throws ConfigError */
export function readConfig(env: Env): Config {
  const known = configs.get(env);
  if (known !== undefined) return known;
  const config = parseConfig(env);
  configs.set(env, config);
  return config;
}
