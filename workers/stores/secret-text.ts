/** How secrets and their names are written in the worker's settings. */
import { z } from "zod";

/** A shared secret with the name that travels beside what it signed. */
export interface NamedKey {
  kid: string;
  secret: Uint8Array<ArrayBuffer>;
}

export const bytesOfBase64 = (text: string) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));

export const WebhookSecret = z
  .string()
  .regex(/^whsec_[A-Za-z0-9+/]+={0,2}$/, "must be whsec_ and base64")
  .transform((text, ctx) => {
    try {
      const secret = bytesOfBase64(text.slice("whsec_".length));
      if (secret.length >= 24 && secret.length <= 64) return secret;
    } catch {
      // Told below, without the secret.
    }
    ctx.addIssue({
      code: "custom",
      message: "must hold 24 to 64 bytes in base64",
    });
    return z.NEVER;
  });

// JSON puts keys that look like integers first, whatever their order in the text: "first" would not be the first.
export const Kid = z
  .string()
  .regex(/^(?!\d+$)[A-Za-z0-9_.-]{1,64}$/, "a kid is 1–64 characters of A–Z a–z 0–9 _ . -, not digits alone");

export const jsonText = z.string().transform((text, ctx): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    ctx.addIssue({ code: "custom", message: "must be JSON" });
    return z.NEVER;
  }
});
