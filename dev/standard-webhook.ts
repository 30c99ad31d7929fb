/** Standard Webhooks v1: signs what the local clients send and verifies what the worker sends. */
import { createHmac, timingSafeEqual } from "node:crypto";

export type WebhookHeaders = { "webhook-id": string; "webhook-timestamp": string; "webhook-signature": string };

const toleranceSeconds = 300;

function signature(secret: string, id: string, timestamp: string, body: string): string {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  return createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64");
}

export function signWebhook(secret: string, id: string, now: Date, body: string): WebhookHeaders {
  const timestamp = String(Math.floor(now.getTime() / 1_000));
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${signature(secret, id, timestamp, body)}`,
  };
}

/** @returns why the call is refused, or null when it is genuine and fresh. */
export function verifyWebhook(
  secret: string,
  headers: Record<string, string | string[] | undefined>,
  now: Date,
  body: string,
): string | null {
  const id = headers["webhook-id"];
  const timestamp = headers["webhook-timestamp"];
  const given = headers["webhook-signature"];
  if (typeof id !== "string" || typeof timestamp !== "string" || typeof given !== "string") return "headers missing";
  const ageSeconds = Math.abs(now.getTime() / 1_000 - Number(timestamp));
  if (!(ageSeconds <= toleranceSeconds)) return "timestamp outside the tolerance";
  const expected = Buffer.from(signature(secret, id, timestamp, body));
  const genuine = given.split(" ").some((entry) => {
    const candidate = Buffer.from(entry.replace(/^v1,/, ""));
    return entry.startsWith("v1,") && candidate.length === expected.length && timingSafeEqual(candidate, expected);
  });
  return genuine ? null : "signature does not match";
}
