/**
 * The proof that a queue message is a command of this very object: HMAC-SHA-256 under a secret that never leaves the
 * object's own storage. Whoever may write to a queue can send a message, but cannot make one that is carried out.
 */
const algorithm = { name: "HMAC", hash: "SHA-256" } as const;
const macHex = /^[0-9a-f]{64}$/;

/** @param secret hex */
export async function prove<C extends object>(command: C, secret: string): Promise<C & { mac: string }> {
  const mac = new Uint8Array(await crypto.subtle.sign(algorithm, await keyOf(secret, "sign"), signedText(command)));
  return { ...command, mac: mac.toHex() };
}

/** In constant time. @param message as the queue delivered it: fields that this version does not know are covered too */
export async function isProven(message: unknown, secret: string): Promise<boolean> {
  if (typeof message !== "object" || message === null || !("mac" in message)) return false;
  const { mac, ...command } = message;
  if (typeof mac !== "string" || !macHex.test(mac)) return false;
  return crypto.subtle.verify(algorithm, await keyOf(secret, "verify"), Uint8Array.fromHex(mac), signedText(command));
}

const keyOf = (secret: string, use: "sign" | "verify") =>
  crypto.subtle.importKey("raw", Uint8Array.fromHex(secret), algorithm, false, [use]);

/** JSON with every object's keys in order, so that nothing on the way changes it by writing the same in another order. */
const signedText = (command: object) => new TextEncoder().encode(JSON.stringify(command, inOrder));

function inOrder(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
