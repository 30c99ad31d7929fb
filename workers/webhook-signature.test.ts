import { expect, test } from "vitest";
import { verifyWebhook } from "./webhook-signature.ts";

// The published vector of standard-webhooks' reference libraries.
const vector = {
  secret: "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
  timestamp: "1614265330",
  body: '{"test": 2432232314}',
  signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
};
const nowMs = 1_614_265_330_000;

const bytes = (text: string) => Uint8Array.from(new TextEncoder().encode(text));
const key = { kid: "vector", secret: Uint8Array.from(atob(vector.secret), (char) => char.charCodeAt(0)) };
const other = (kid: string) => ({ kid, secret: bytes(`${kid}, which signed nothing here`) });

interface Over {
  signature?: string;
  id?: string;
  timestamp?: string;
  body?: string;
  nowMs?: number;
  keys?: (typeof key)[];
  keyId?: string;
}

function verify(over: Over) {
  const headers = new Headers({
    "webhook-id": over.id ?? vector.id,
    "webhook-timestamp": over.timestamp ?? vector.timestamp,
    "webhook-signature": over.signature ?? vector.signature,
    ...(over.keyId === undefined ? {} : { "webhook-key-id": over.keyId }),
  });
  return verifyWebhook(headers, bytes(over.body ?? vector.body), over.keys ?? [key], over.nowMs ?? nowMs);
}

test.each([
  ["the published vector", {}],
  ["at the old edge of the tolerance", { nowMs: nowMs + 300_000 }],
  ["at the new edge of the tolerance", { nowMs: nowMs - 300_000 }],
  ["by one of several keys", { keys: [other("first"), key, other("last")] }],
  ["by the key that is named", { keys: [other("first"), key], keyId: "vector" }],
  ["among others, while secrets are replaced", { signature: `v1,bm90IGl0 v1a,Zm9v ${vector.signature}` }],
])("accepts %s", async (_name, over) => {
  await expect(verify(over)).resolves.toEqual({ id: vector.id, key });
});

test.each([
  ["another body", { body: '{"test": 2432232315}' }],
  ["another id", { id: "msg_other" }],
  ["another time", { timestamp: "1614265331" }],
  ["a call of six minutes ago", { nowMs: nowMs + 301_000 }],
  ["a call from the future", { nowMs: nowMs - 301_000 }],
  ["an asymmetric signature", { signature: vector.signature.replace("v1,", "v1a,") }],
  ["a signature cut short", { signature: vector.signature.slice(0, -6) }],
  ["a signature that is no base64", { signature: "v1,***" }],
  ["a key that is not known any more", { keys: [other("first"), other("last")] }],
  ["no key at all", { keys: [] }],
  ["another key's name", { keys: [other("first"), key], keyId: "first" }],
  ["a name that no key has", { keyId: "nobody" }],
  ["no signature", { signature: "" }],
  ["an empty id", { id: "" }],
  ["an id too long for a key", { id: "x".repeat(181) }],
  ["a time that is no number", { timestamp: "yesterday" }],
])("refuses %s", async (_name, over) => {
  await expect(verify(over)).rejects.toMatchObject({ code: "BAD_SIGNATURE", status: 401 });
});

test("looks at no more signatures than a rotation needs", async () => {
  const signature = `${"v1,bm90IGl0 ".repeat(10)}${vector.signature}`;
  await expect(verify({ signature })).rejects.toMatchObject({ code: "BAD_SIGNATURE" });
});
