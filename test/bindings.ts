/**
 * The worker's settings and secrets under test. Every value is fixed and worthless: addresses end in `.test`, which
 * never resolves, and each secret says what it is.
 */

const fakeBytes = (purpose: string): string => `not-a-secret-only-for-tests-${purpose}`.padEnd(48, ".");

/** A base64url secret of 48 bytes, as JWT_KEYS and PLAYBACK_KEYS hold them. */
const fakeSecret = (purpose: string): string =>
  btoa(fakeBytes(purpose)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/** A Standard Webhooks secret: `whsec_` and base64. */
const fakeWebhookSecret = (purpose: string): string => `whsec_${btoa(fakeBytes(purpose))}`;

/** Every `vars` and `secrets` entry of wrangler.toml; test/bindings.test.ts fails when one is missing here. */
export const testBindings = {
  ENVIRONMENT: "test",
  PUBLIC_URL: "https://media.test",
  WASABI_ENDPOINT: "https://s3.wasabi.test",
  WASABI_REGION: "us-east-1",
  WASABI_BUCKET: "test-archive",
  QUEUES_API_URL: "https://api.cloudflare.test/client/v4",
  CLOUDFLARE_ACCOUNT_ID: "test-account",
  TRANSCODE_QUEUE_ID: "transcode",
  TRANSCODE_RUSH_QUEUE_ID: "transcode-rush",
  LUCID_AGENT_URL: "https://lucid-agent.test",
  APP_WEBHOOK_URL: "https://app.test/webhooks/media",
  POLICY: "{}",
  CLOCK_OFFSET_MS: "0",
  WASABI_ACCESS_KEY_ID: "TESTACCESSKEYID",
  WASABI_SECRET_ACCESS_KEY: "not-a-secret-only-for-tests-wasabi",
  QUEUES_TOKEN: "not-a-secret-only-for-tests-queues",
  LUCID_AGENT_TOKEN: "not-a-secret-only-for-tests-lucid-agent",
  LUCID_AGENT_CALLBACK_SECRET: fakeWebhookSecret("callback"),
  UPLOAD_WEBHOOK_SECRET: fakeWebhookSecret("upload"),
  APP_WEBHOOK_SECRET: fakeWebhookSecret("app"),
  JWT_KEYS: JSON.stringify({ "test-jwt": fakeSecret("jwt") }),
  PLAYBACK_KEYS: JSON.stringify({ "test-playback": fakeSecret("playback") }),
} as const;

/** The bucket and keys of the S3 that the workers suite runs beside itself; its address comes by `inject`. */
export const localWasabi = {
  bucket: testBindings.WASABI_BUCKET,
  accessKeyId: testBindings.WASABI_ACCESS_KEY_ID,
  secretAccessKey: testBindings.WASABI_SECRET_ACCESS_KEY,
} as const;

declare module "vitest" {
  interface ProvidedContext {
    wasabiEndpoint: string;
    /** Its objects are all labelled as packed. */
    labelledStore: string;
    /** Which server that is: some answers are one server's own. */
    localS3: "miniflare" | "ceph";
  }
}
