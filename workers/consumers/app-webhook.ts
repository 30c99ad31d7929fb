/** NotifyApp: one signed call (Standard Webhooks) tells the application where its asset stands. */
import type { CommandOf } from "../../schemas/command.ts";
import type { Config, Env } from "../stores/config.ts";
import { fetchWithin } from "../stores/deadline.ts";
import { recordDelivery } from "../stores/delivery-record.ts";
import { asRetained } from "../stores/retained.ts";
import { StoreFailure } from "../stores/store-failure.ts";

const timeoutMs = 20_000;

/** @param body exactly the text that is sent @returns the three headers that prove it */
export async function signedHeaders(
  secret: Uint8Array<ArrayBuffer>,
  call: { id: string; timestampSeconds: number; body: string },
): Promise<Record<string, string>> {
  const { id, timestampSeconds, body } = call;
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signed = new TextEncoder().encode(`${id}.${timestampSeconds}.${body}`);
  const signature = new Uint8Array(await crypto.subtle.sign("HMAC", key, signed));
  return {
    "webhook-id": id,
    "webhook-timestamp": String(timestampSeconds),
    "webhook-signature": `v1,${btoa(String.fromCharCode(...signature))}`,
  };
}

/** @throws StoreFailure APP_WEBHOOK_FAILED unless the application answered 2xx: the queue delivers again, same id */
export async function notifyApp(command: CommandOf<"NotifyApp">, env: Env, config: Config, nowMs: number) {
  if (config.appWebhook === null) return;
  const { id, fileId, event, timestamp } = command;
  const asset = await asRetained(env, command.asset);
  const body = JSON.stringify({ type: event, timestamp, data: { asset } });
  const call = { id, timestampSeconds: Math.floor(nowMs / 1000), body };
  const status = await post(config.appWebhook.url, body, await signedHeaders(config.appWebhook.secret, call));
  const delivered = status !== null && status >= 200 && status < 300;
  const at = new Date(nowMs).toISOString();
  await recordDelivery(env.CATALOGUE, { id, fileId, event, revision: asset.revision, status, delivered, at });
  if (delivered) return;
  const told = status === null ? "did not answer" : `answered ${status}`;
  throw new StoreFailure("APP_WEBHOOK_FAILED", `The application's endpoint ${told}.`);
}

/** @returns the status, or null when nobody answered. A redirect is an answer, and not a success. */
async function post(url: string, body: string, headers: Record<string, string>): Promise<number | null> {
  const request = new Request(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body,
    redirect: "manual",
  });
  try {
    const response = await fetchWithin(request, { timeoutMs });
    await response.body?.cancel();
    return response.status;
  } catch {
    return null;
  }
}
