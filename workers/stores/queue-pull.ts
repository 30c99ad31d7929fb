/**
 * The transcode queues by Cloudflare's HTTP pull API: a Worker has no binding to pull with. Leases on messages cannot be
 * extended there.
 */
import { z } from "zod";
import { codeOf } from "../../schemas/failure-policy.ts";
import { type PulledQueue, TranscodeMessage } from "../../schemas/runner-protocol.ts";
import type { PullConfig } from "./config.ts";
import { fetchWithin, textWithin } from "./deadline.ts";
import { retryAfterMs, StoreFailure } from "./store-failure.ts";

/** A claim takes seconds; after this another runner may have the message. */
const visibilityTimeoutMs = 60_000;
const timeoutMs = 10_000;
/** A hundred messages of 128 KB are more, but these have a few hundred bytes. */
const longestAnswer = 4 * 1024 * 1024;
export const mostMessagesAtOnce = 100;

export interface LeasedMessage {
  leaseId: string;
  /** Deliveries so far, this one included. */
  attempts: number;
  /** As the queue gave it: see `readTranscode`. */
  body: unknown;
}

const PullAnswer = z.object({
  result: z.object({
    messages: z.array(
      z.object({ lease_id: z.string().min(1), attempts: z.int().nonnegative().default(1), body: z.unknown() }),
    ),
  }),
});

const ErrorAnswer = z.object({ errors: z.array(z.object({ message: z.string() })) });

const settingOf = { transcode: "TRANSCODE_QUEUE_ID", "transcode-rush": "TRANSCODE_RUSH_QUEUE_ID" } as const;

async function post(config: PullConfig, queue: PulledQueue, path: "pull" | "ack", body: unknown): Promise<string> {
  const address = `${config.apiUrl}/accounts/${config.accountId}/queues/${config.queueIds[queue]}/messages/${path}`;
  const request = new Request(address, {
    method: "POST",
    headers: { authorization: `Bearer ${config.token}`, "content-type": "application/json" },
    body: JSON.stringify(body),
    redirect: "manual",
  });
  let response: Response;
  let text: string;
  try {
    response = await fetchWithin(request, { timeoutMs });
    text = await textWithin(response, { limitBytes: longestAnswer, timeoutMs });
  } catch (cause) {
    throw new StoreFailure(codeOf("silence", "queue"), "The queues' API did not answer.", { cause });
  }
  if (response.status !== 200) throw refusalOf(response, text, queue, path);
  return text;
}

/** `retryable` false: a wrong setting, which stays wrong until somebody changes it. */
function refusalOf({ status, headers }: Response, text: string, queue: PulledQueue, path: string): StoreFailure {
  const parsed = ErrorAnswer.safeParse(jsonOrUndefined(text));
  const says = parsed.success ? ` (${parsed.data.errors.map(({ message }) => message).join("; ")})` : "";
  const told = `The queues' API answered ${status}${says.slice(0, 300)} to ${path} ${queue}`;
  if (path === "ack" && (status === 400 || status === 422)) return new StoreFailure("BAD_REQUEST", `${told}.`);
  const advice: Readonly<Record<number, string>> = {
    401: "check QUEUES_TOKEN",
    403: "check QUEUES_TOKEN: it needs Queues, Read and Write, of CLOUDFLARE_ACCOUNT_ID",
    404: `check CLOUDFLARE_ACCOUNT_ID, ${settingOf[queue]} and that the queue has an HTTP pull consumer`,
    409: "check that its delivery is not paused (wrangler queues resume-delivery)",
    405: "check that the queue has an HTTP pull consumer",
  };
  const passing = status >= 500 || status === 408 || status === 409 || status === 425 || status === 429;
  return new StoreFailure(codeOf("silence", "queue"), `${told}: ${advice[status] ?? "it is asked again"}.`, {
    retryable: passing,
    retryAfterMs: retryAfterMs(headers, Date.now()),
  });
}

/** @throws StoreFailure */
export async function pullMessages(
  config: PullConfig,
  queue: PulledQueue,
  atMost: number,
): Promise<readonly LeasedMessage[]> {
  const text = await post(config, queue, "pull", { batch_size: atMost, visibility_timeout_ms: visibilityTimeoutMs });
  const parsed = PullAnswer.safeParse(jsonOrUndefined(text));
  if (!parsed.success) throw new StoreFailure(codeOf("silence", "queue"), "The queues' API's answer cannot be read.");
  return parsed.data.result.messages.map(({ lease_id, attempts, body }) => ({ leaseId: lease_id, attempts, body }));
}

/** Late and repeated ones are taken. @throws StoreFailure */
export async function ackMessage(config: PullConfig, queue: PulledQueue, leaseId: string): Promise<void> {
  await post(config, queue, "ack", { acks: [{ lease_id: leaseId }], retries: [] });
}

/** Gives it back, for whoever pulls after `delaySeconds`. @throws StoreFailure */
export async function retryMessage(
  config: PullConfig,
  queue: PulledQueue,
  leaseId: string,
  delaySeconds: number,
): Promise<void> {
  await post(config, queue, "ack", { acks: [], retries: [{ lease_id: leaseId, delay_seconds: delaySeconds }] });
}

const LooseMessage = TranscodeMessage.loose();
export type TranscodeRead = { message: z.infer<typeof LooseMessage> } | { message: null; problem: string };

/** JSON bodies arrive as base64, as text, and were seen as plain JSON values too. */
export function readTranscode(body: unknown): TranscodeRead {
  const readings = typeof body === "string" ? [jsonOrUndefined(body), jsonOrUndefined(fromBase64(body))] : [body];
  const parsed = readings.map((reading) => LooseMessage.safeParse(reading));
  const success = parsed.find((result) => result.success);
  if (success?.data) return { message: success.data };
  const readable = readings.findIndex((reading) => reading !== undefined);
  if (readable === -1) return { message: null, problem: "the body is neither JSON nor base64 of JSON" };
  const issues = parsed[readable]?.error?.issues ?? [];
  const problem = issues.map((issue) => `${issue.path.join(".") || "body"}: ${issue.message}`).join("; ");
  return { message: null, problem: problem.slice(0, 500) };
}

function fromBase64(text: string): string {
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(text), (char) => char.charCodeAt(0)));
  } catch {
    return "";
  }
}

function jsonOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
