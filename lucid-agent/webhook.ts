/** Signs callbacks after Standard Webhooks and sends them once; when to try again is `nextTry`'s to say. */
import { createHmac } from "node:crypto";
import type { PendingCallback } from "./record.ts";

const timeoutMs = 15_000;

/** For how long a callback is tried; after that the worker's own asking finds out. */
export const callbackPolicy = { baseMs: 1_000, maxMs: 60_000, maxTries: 60 };
export type CallbackPolicy = typeof callbackPolicy;

/** @param key the secret's raw bytes */
export function webhookHeaders(key: Buffer, id: string, nowMs: number, body: string): Record<string, string> {
  const timestamp = String(Math.floor(nowMs / 1_000));
  const signature = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64");
  return {
    "content-type": "application/json",
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${signature}`,
  };
}

/** @returns the answer's status, or null when none came. */
export async function sendWebhook(
  pending: PendingCallback,
  key: Buffer,
  nowMs: number,
  signal: AbortSignal,
): Promise<number | null> {
  const body = JSON.stringify(pending.body);
  try {
    const response = await fetch(pending.url, {
      method: "POST",
      headers: webhookHeaders(key, pending.id, nowMs, body),
      body,
      redirect: "manual",
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
    await response.body?.cancel();
    return response.status;
  } catch {
    return null;
  }
}

/** What becomes of a callback after a try: null when it is over (accepted, gone, or tried often enough). */
export function nextTry(
  pending: PendingCallback,
  status: number | null,
  policy: CallbackPolicy,
  nowMs: number,
  random: number,
): PendingCallback | null {
  if (status !== null && ((status >= 200 && status < 300) || status === 410)) return null;
  const tries = pending.tries + 1;
  if (tries >= policy.maxTries) return null;
  const ceiling = Math.min(policy.baseMs * 2 ** Math.min(pending.tries, 30), policy.maxMs);
  return { ...pending, tries, nextAtMs: Math.round(nowMs + ceiling * (0.5 + random / 2)) };
}
