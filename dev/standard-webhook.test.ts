import { expect, test } from "vitest";
import { signWebhook, verifyWebhook } from "./standard-webhook.ts";

// The vector of the Standard Webhooks reference libraries.
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const at = new Date(1_614_265_330_000);
const body = '{"test": 2432232314}';

test("signs the reference vector", () => {
  expect(signWebhook(secret, id, at, body)).toEqual({
    "webhook-id": id,
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  });
});

test("accepts its own signature among several, and refuses another body, secret or time", () => {
  const headers = signWebhook(secret, id, at, body);
  const rotated = { ...headers, "webhook-signature": `v1,AAAA ${headers["webhook-signature"]}` };
  expect(verifyWebhook(secret, rotated, at, body)).toBeNull();
  expect(verifyWebhook(secret, headers, at, `${body} `)).toMatch(/signature/);
  expect(verifyWebhook("whsec_AAAA", headers, at, body)).toMatch(/signature/);
  expect(verifyWebhook(secret, headers, new Date(at.getTime() + 301_000), body)).toMatch(/timestamp/);
  expect(verifyWebhook(secret, { ...headers, "webhook-timestamp": "soon" }, at, body)).toMatch(/timestamp/);
  expect(verifyWebhook(secret, {}, at, body)).toMatch(/headers/);
});
