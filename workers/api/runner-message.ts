/**
 * The runner's doors to the transcode queues: the worker alone holds the queues' token, which Cloudflare cannot narrow to
 * a queue. A lease id that is made up acks nothing, as the queue does not know it, and only these two queues are reached.
 */
import { PullRefusal, pullDoor } from "../../durable-objects/pull-door.ts";
import { AckRequest, PullAnswer, PullRequest, RetryRequest, SettleAnswer } from "../../schemas/runner-protocol.ts";
import { Refusal } from "../problem.ts";
import { ackMessage, retryMessage } from "../stores/queue-pull.ts";
import { reply, route } from "./route.ts";

const access = { by: "token", roles: ["runner"] } as const;

export const runnerPull = route({
  method: "POST",
  path: "/v1/runner/messages/pull",
  summary:
    "The next job: of the rush queue as long as it has any. Waits for one; spaces before the JSON say that it still does.",
  access,
  body: PullRequest,
  answers: { 200: PullAnswer },
  async handle({ env, requestId }, { body }) {
    const { waitSeconds, rushOnly } = body;
    const query = new URLSearchParams({ waitMs: String(waitSeconds * 1_000), rushOnly: String(rushOnly) });
    const answer = await pullDoor(env.PULL).fetch(new Request(`https://object/pull?${query}`));
    if (!answer.ok) {
      const { detail, retryAfterMs } = PullRefusal.parse(await answer.json());
      throw new Refusal("UNAVAILABLE", detail, { headers: { "retry-after": String(Math.ceil(retryAfterMs / 1_000)) } });
    }
    // Compressed on its way, the spaces would be held back.
    const headers = { "cache-control": "no-store, no-transform", "x-request-id": requestId };
    return new Response(answer.body, { headers: { "content-type": "application/json", ...headers } });
  },
});

export const runnerAck = route({
  method: "POST",
  path: "/v1/runner/messages/ack",
  summary: "The message is dealt with: its job is claimed, or not wanted any more.",
  access,
  body: AckRequest,
  answers: { 200: SettleAnswer },
  async handle({ config }, { body: { queue, leaseId } }) {
    await ackMessage(config.pull, queue, leaseId);
    return reply(200, {});
  },
});

export const runnerRetry = route({
  method: "POST",
  path: "/v1/runner/messages/retry",
  summary: "Gives a message back to its queue, for whoever pulls after the delay.",
  access,
  body: RetryRequest,
  answers: { 200: SettleAnswer },
  async handle({ config }, { body: { queue, leaseId, delaySeconds } }) {
    await retryMessage(config.pull, queue, leaseId, delaySeconds);
    return reply(200, {});
  },
});
