/** The local stack's secrets: made once, kept in DIR/secrets.json, so that signed URLs outlive a restart. */
import { randomBytes, randomUUID } from "node:crypto";
import { join } from "node:path";
import { SignJWT } from "jose";
import { z } from "zod";
import type { Role } from "../schemas/api.ts";
import { readJson, writePrivateJson } from "./private-file.ts";

const KeyRing = z.record(z.string(), z.string().min(43));

export const Secrets = z.object({
  version: z.literal(1),
  wasabiAccessKeyId: z.string().min(16),
  wasabiSecretAccessKey: z.string().min(32),
  lucidAgentToken: z.string().min(32),
  lucidAgentCallbackSecret: z.string().startsWith("whsec_"),
  uploadWebhookSecret: z.string().startsWith("whsec_"),
  appWebhookSecret: z.string().startsWith("whsec_"),
  pullToken: z.string().min(32),
  jwtKeys: KeyRing,
  playbackKeys: KeyRing,
});
export type Secrets = z.infer<typeof Secrets>;

export function makeSecrets(random: (bytes: number) => Buffer = randomBytes): Secrets {
  const token = () => random(32).toString("base64url");
  const webhookSecret = () => `whsec_${random(32).toString("base64")}`;
  return {
    version: 1,
    wasabiAccessKeyId: random(10).toString("hex").toUpperCase(),
    wasabiSecretAccessKey: token(),
    lucidAgentToken: token(),
    lucidAgentCallbackSecret: webhookSecret(),
    uploadWebhookSecret: webhookSecret(),
    appWebhookSecret: webhookSecret(),
    pullToken: token(),
    jwtKeys: { [`local-${random(4).toString("hex")}`]: token() },
    playbackKeys: { [`local-${random(4).toString("hex")}`]: token() },
  };
}

export async function loadSecrets(dataDirectory: string): Promise<Secrets> {
  const path = join(dataDirectory, "secrets.json");
  const kept = await readJson(path, Secrets);
  if (kept !== null) return kept;
  const made = makeSecrets();
  await writePrivateJson(path, made);
  return made;
}

/** A bearer token (HS256) for every client of the stack, signed with the first key of the ring. */
export async function mintToken(
  keys: Secrets["jwtKeys"],
  role: Role,
  subject: string,
  lifetime: string,
): Promise<string> {
  const [kid, secret] = Object.entries(keys)[0] ?? [];
  if (kid === undefined || secret === undefined) throw new Error("JWT key ring is empty");
  return await new SignJWT({ role, clients: ["*"] })
    .setProtectedHeader({ alg: "HS256", kid, typ: "JWT" })
    .setSubject(subject)
    .setJti(randomUUID())
    .setIssuedAt()
    .setExpirationTime(lifetime)
    .sign(Buffer.from(secret, "base64url"));
}
