/**
 * The transcode queues by the API's doors: pull one message, ack it, or give it back with a delay. Leases on messages
 * cannot be extended, so a message is acked as soon as its job is claimed.
 */
import { z } from "zod";
import { PullAnswer, type PulledMessage } from "../../schemas/runner-protocol.ts";
import { type Backoff, backoffDelayMs, pause } from "./backoff.ts";
import { callHttp, type HttpAnswer, isTransient, Unanswered } from "./http-call.ts";

export type PullQueueOptions = {
  apiUrl: string;
  token: string;
  /** How long a pull may wait for a message at the API. 0: it looks once. */
  waitSeconds: number;
  rushOnly: boolean;
  /** For an answer, beyond that. */
  timeoutMs: number;
  backoff: Backoff;
  random: () => number;
};

export type Lease = Pick<PulledMessage, "queue" | "leaseId">;

export type PullQueue = {
  /** null when there was no message. Throws PullRefused, Unanswered or the signal's reason. */
  pull(signal: AbortSignal): Promise<PulledMessage | null>;
  /** Tries a few times; throws what the last try threw. */
  ack(lease: Lease, signal: AbortSignal): Promise<void>;
  retry(lease: Lease, delaySeconds: number, signal: AbortSignal): Promise<void>;
};

/** The API answered, but not with a message. `permanent`: a wrong token or address, which no waiting changes. */
export class PullRefused extends Error {
  override name = "PullRefused";
  readonly permanent: boolean;

  constructor(what: string, answer: HttpAnswer) {
    super(`${what}: HTTP ${answer.status}${adviceOf(answer)}`);
    this.permanent = answer.status >= 400 && !isTransient(answer.status);
  }
}

const settleAttempts = 5;

const Problem = z.object({ code: z.string().optional(), detail: z.string().max(1_000) });

function adviceOf({ status, text }: HttpAnswer): string {
  const problem = Problem.safeParse(jsonOrUndefined(text)).data;
  // The API's own 404, as it answers for every address that it does not have.
  if (status === 404 && problem?.code === "NOT_FOUND") {
    return " (the worker is older than this runner: deploy the worker first)";
  }
  return problem === undefined ? "" : ` (${problem.detail.slice(0, 300)})`;
}

export function createPullQueue(options: PullQueueOptions): PullQueue {
  const base = `${options.apiUrl.replace(/\/+$/, "")}/v1/runner/messages`;

  async function post(path: "pull" | "ack" | "retry", body: unknown, timeoutMs: number, signal: AbortSignal) {
    const answer = await callHttp(`${base}/${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${options.token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
      timeoutMs,
      signal,
    });
    if (answer.status !== 200) throw new PullRefused(`the API refused to ${path}`, answer);
    return answer;
  }

  async function settle(path: "ack" | "retry", body: unknown, signal: AbortSignal): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await post(path, body, options.timeoutMs, signal);
        return;
      } catch (error) {
        const again = error instanceof Unanswered || (error instanceof PullRefused && !error.permanent);
        if (!again || attempt === settleAttempts) throw error;
        await pause(backoffDelayMs(attempt, options.backoff, options.random), signal);
      }
    }
  }

  return {
    async pull(signal) {
      const { waitSeconds, rushOnly, timeoutMs } = options;
      const answer = await post("pull", { waitSeconds, rushOnly }, waitSeconds * 1_000 + timeoutMs, signal);
      const parsed = PullAnswer.safeParse(jsonOrUndefined(answer.text));
      if (!parsed.success) throw new PullRefused("the API's answer cannot be read", answer);
      return parsed.data.pulled;
    },
    ack: ({ queue, leaseId }, signal) => settle("ack", { queue, leaseId }, signal),
    retry: ({ queue, leaseId }, delaySeconds, signal) => settle("retry", { queue, leaseId, delaySeconds }, signal),
  };
}

function jsonOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
