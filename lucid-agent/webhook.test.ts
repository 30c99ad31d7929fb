import { expect, test } from "vitest";
import { AgentFailure, problemOf } from "./failure.ts";
import { ended, recordOf } from "./record.ts";
import { bytesOf, placeOf } from "./testing/agent-client.ts";
import { callbackPolicy, nextTry, webhookHeaders } from "./webhook.ts";

test("signs as Standard Webhooks' own test vector does", () => {
  const key = Buffer.from("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "base64");
  const headers = webhookHeaders(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330_000, '{"test": 2432232314}');
  expect(headers).toMatchObject({
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  });
});

const request = placeOf(bytesOf(10), "https://a.test/1", "https://worker.test/callback");
const { pending } = ended(recordOf("t", request, 0), problemOf(new AgentFailure("LUCIDLINK_FULL", "full")), 0);
if (pending === null) throw new Error("an ended transfer has a callback");

test("a callback is over once accepted, gone, or tried often enough; else it waits longer each time", () => {
  expect(nextTry(pending, 204, callbackPolicy, 0, 0)).toBeNull();
  expect(nextTry(pending, 410, callbackPolicy, 0, 0)).toBeNull();
  expect(nextTry(pending, 302, callbackPolicy, 0, 0)).not.toBeNull();
  const waits: number[] = [];
  let next: typeof pending | null = pending;
  while (next !== null) {
    next = nextTry(next, null, callbackPolicy, 0, 0.999);
    if (next !== null) waits.push(next.nextAtMs);
  }
  expect(waits).toHaveLength(callbackPolicy.maxTries - 1);
  expect(waits).toEqual(waits.toSorted((a, b) => a - b));
  expect(waits.at(-1)).toBeLessThanOrEqual(callbackPolicy.maxMs);
});
