// Every secret of a deployment, fresh: node docs/examples/make-secrets.mjs > secrets.json
import { randomBytes } from "node:crypto";

const webhookSecret = () => `whsec_${randomBytes(32).toString("base64")}`;
// A key's name must not be digits only.
const keyring = () => JSON.stringify({ [`k${Date.now()}`]: randomBytes(32).toString("base64url") });

const secrets = {
  WASABI_ACCESS_KEY_ID: process.env.WASABI_ACCESS_KEY_ID ?? "",
  WASABI_SECRET_ACCESS_KEY: process.env.WASABI_SECRET_ACCESS_KEY ?? "",
  QUEUES_TOKEN: process.env.QUEUES_TOKEN ?? "",
  LUCID_AGENT_TOKEN: randomBytes(32).toString("base64url"),
  LUCID_AGENT_CALLBACK_SECRET: webhookSecret(),
  UPLOAD_WEBHOOK_SECRET: webhookSecret(),
  APP_WEBHOOK_SECRET: webhookSecret(),
  JWT_KEYS: keyring(),
  PLAYBACK_KEYS: keyring(),
};
console.log(JSON.stringify(secrets, null, 2));
