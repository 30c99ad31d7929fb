/**
 * A transcode queue, by Cloudflare's HTTP pull API: pull one message, ack it, or give it back with a delay. Leases on
 * messages cannot be extended there, so a message is acked as soon as its job is claimed.
 */
import { z } from "zod";
import { TranscodeMessage } from "../../schemas/runner-protocol.ts";
import { type Backoff, backoffDelayMs, pause } from "./backoff.ts";
import { callHttp, type HttpAnswer, isTransient, Unanswered } from "./http-call.ts";

export type PullQueueOptions = {
  /** Which setting names it, for the log. */
  setting: string;
  /** `https://…/client/v4/accounts/:account/queues/:queue/messages` */
  url: string;
  token: string;
  /** How long a pulled message stays hidden from other runners. */
  visibilityTimeoutMs: number;
  timeoutMs: number;
  backoff: Backoff;
  random: () => number;
};

export type PulledMessage = {
  leaseId: string;
  /** Deliveries so far, this one included. */
  attempts: number;
  /** null: the body is not a transcode message; `problem` says why. */
  message: TranscodeMessage | null;
  problem: string | null;
};

export type PullQueue = {
  readonly setting: string;
  /** null when the queue is empty. Throws PullRefused, Unanswered or the signal's reason. */
  pull(signal: AbortSignal): Promise<PulledMessage | null>;
  /** Tries a few times; throws what the last try threw. */
  ack(leaseId: string, signal: AbortSignal): Promise<void>;
  retry(leaseId: string, delaySeconds: number, signal: AbortSignal): Promise<void>;
};

/** The queue answered, but not with messages. `permanent`: a wrong token or address, which waiting does not mend. */
export class PullRefused extends Error {
  override name = "PullRefused";
  readonly permanent: boolean;

  constructor(what: string, answer: HttpAnswer) {
    super(`${what}: HTTP ${answer.status}${errorText(answer.text)}`);
    this.permanent = answer.status >= 400 && !isTransient(answer.status);
  }
}

const settleAttempts = 5;

const PullAnswer = z.object({
  result: z.object({
    messages: z.array(
      z.object({
        lease_id: z.string().min(1),
        attempts: z.int().nonnegative().default(1),
        body: z.unknown(),
      }),
    ),
  }),
});

const ErrorAnswer = z.object({ errors: z.array(z.object({ message: z.string() })) });

function errorText(body: string): string {
  const parsed = ErrorAnswer.safeParse(jsonOrUndefined(body));
  const messages = parsed.success ? parsed.data.errors.map((error) => error.message).join("; ") : "";
  return messages === "" ? "" : ` (${messages.slice(0, 300)})`;
}

export function createPullQueue(options: PullQueueOptions): PullQueue {
  async function post(path: "pull" | "ack", body: unknown, signal: AbortSignal): Promise<HttpAnswer> {
    const answer = await callHttp(`${options.url}/${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${options.token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
      timeoutMs: options.timeoutMs,
      signal,
    });
    if (answer.status !== 200) throw new PullRefused(`the queue refused to ${path}`, answer);
    return answer;
  }

  async function settle(body: unknown, signal: AbortSignal): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await post("ack", body, signal);
        return;
      } catch (error) {
        const again = error instanceof Unanswered || (error instanceof PullRefused && !error.permanent);
        if (!again || attempt === settleAttempts) throw error;
        await pause(backoffDelayMs(attempt, options.backoff, options.random), signal);
      }
    }
  }

  return {
    setting: options.setting,
    async pull(signal) {
      const answer = await post("pull", { batch_size: 1, visibility_timeout_ms: options.visibilityTimeoutMs }, signal);
      const parsed = PullAnswer.safeParse(jsonOrUndefined(answer.text));
      if (!parsed.success) throw new PullRefused("the queue's answer cannot be read", answer);
      const [first] = parsed.data.result.messages;
      if (first === undefined) return null;
      return { leaseId: first.lease_id, attempts: first.attempts, ...readBody(first.body) };
    },
    ack: (leaseId, signal) => settle({ acks: [{ lease_id: leaseId }], retries: [] }, signal),
    retry: (leaseId, delaySeconds, signal) =>
      settle({ acks: [], retries: [{ lease_id: leaseId, delay_seconds: delaySeconds }] }, signal),
  };
}

/** JSON bodies arrive as base64, as text, and were seen as plain JSON values too. */
export function readBody(body: unknown): Pick<PulledMessage, "message" | "problem"> {
  const readings = typeof body === "string" ? [jsonOrUndefined(body), jsonOrUndefined(fromBase64(body))] : [body];
  const parsed = readings.map((reading) => TranscodeMessage.safeParse(reading));
  const success = parsed.find((result) => result.success);
  if (success?.data) return { message: success.data, problem: null };
  if (readings.every((reading) => reading === undefined)) {
    return { message: null, problem: "the body is neither JSON nor base64 of JSON" };
  }
  const issues = parsed.at(readings.findIndex((reading) => reading !== undefined))?.error?.issues ?? [];
  const problem = issues.map((issue) => `${issue.path.join(".") || "body"}: ${issue.message}`).join("; ");
  return { message: null, problem: problem.slice(0, 500) };
}

function fromBase64(text: string): string {
  return Buffer.from(text, "base64").toString("utf8");
}

function jsonOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
