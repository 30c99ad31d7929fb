/** Verifies incoming calls signed after Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, in constant time. */
import { Refusal } from "./problem.ts";
import type { NamedKey } from "./stores/secret-text.ts";

export const WEBHOOK_TOLERANCE_SECONDS = 300;
// Leaves room for a prefix within an event's key and author.
const webhookId = /^[\x21-\x7e]{1,180}$/;
// More than a rotation needs; bounds the work that an unsigned call can cause.
const maxSignatures = 10;

/**
 * @param body the raw body: one byte re-encoded breaks the signature
 * @param keys all of them are tried, unless the header `webhook-key-id` names one
 * @returns the webhook's id, and the key that signed it
 * @throws Refusal BAD_SIGNATURE; its detail says what is wrong, never what was expected
 */
export async function verifyWebhook<Key extends NamedKey>(
  headers: Headers,
  body: Uint8Array<ArrayBuffer>,
  keys: readonly Key[],
  nowMs: number,
): Promise<{ id: string; key: Key }> {
  const id = headers.get("webhook-id") ?? "";
  const timestamp = headers.get("webhook-timestamp") ?? "";
  const signatures = (headers.get("webhook-signature") ?? "").split(" ").filter((each) => each.startsWith("v1,"));
  if (!webhookId.test(id)) throw badSignature("webhook-id must be 1–180 printable ASCII characters.");
  if (!/^\d{1,12}$/.test(timestamp)) throw badSignature("webhook-timestamp must be seconds since 1970.");
  if (Math.abs(nowMs / 1000 - Number(timestamp)) > WEBHOOK_TOLERANCE_SECONDS) {
    throw badSignature("webhook-timestamp is more than five minutes from now.");
  }
  const signed = concatenated(new TextEncoder().encode(`${id}.${timestamp}.`), body);
  const given = signatures.slice(0, maxSignatures).flatMap((each) => bytesOf(each.slice("v1,".length)) ?? []);
  const named = headers.get("webhook-key-id");
  let found: Key | null = null;
  for (const key of keys) {
    if (named !== null && named !== key.kid) continue;
    const expected = await signatureOf(signed, key.secret);
    for (const each of given) if (isSame(each, expected)) found ??= key;
  }
  if (found === null)
    throw badSignature("webhook-signature holds no v1 signature of this body by a key that is known.");
  return { id, key: found };
}

async function signatureOf(signed: Uint8Array<ArrayBuffer>, secret: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, signed));
}

const isSame = (a: Uint8Array, b: Uint8Array) => a.length === b.length && crypto.subtle.timingSafeEqual(a, b);

function badSignature(detail: string): Refusal {
  return new Refusal("BAD_SIGNATURE", detail);
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    return null;
  }
}

function concatenated(head: Uint8Array, tail: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(head.length + tail.length);
  whole.set(head);
  whole.set(tail, head.length);
  return whole;
}
