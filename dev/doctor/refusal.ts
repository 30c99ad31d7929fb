/** Answers of a store that say nothing of what was asked, and what they mean instead. Pure. */
import { failed, notCheckable, type Verdict } from "./check.ts";
import type { Answer } from "./s3-probe.ts";

const unknownKey = new Set(["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "AuthFailure"]);
const otherRegion = new Set([
  "AuthorizationHeaderMalformed",
  "PermanentRedirect",
  "IllegalLocationConstraintException",
]);

export const told = ({ status, code }: Answer) => (code === null ? `HTTP ${status}` : `${status} ${code}`);

/** A bare 403 is a refusal too: an answer to HEAD has no code. */
export const isDenied = ({ status, code }: Answer) =>
  code === "AccessDenied" || code === "AllAccessDisabled" || (status === 403 && code === null);

/** @returns null where the store has considered the question itself */
export function refusal(answer: Answer): Verdict | null {
  const { status, code } = answer;
  if (status === 0) {
    return failed(
      `The store did not answer (${code ?? "no reason"}).`,
      "Check WASABI_ENDPOINT: curl -sSI its address.",
    );
  }
  if (code !== null && unknownKey.has(code)) {
    return failed(
      `The store does not take this key pair (${told(answer)}).`,
      "Compare the pair with the one in Wasabi's console; if it was replaced, npx wrangler secret bulk both halves.",
    );
  }
  if (code === "RequestTimeTooSkewed") {
    return failed(
      "This machine's clock is more than 15 minutes from the store's: it refuses every signature.",
      "timedatectl set-ntp true",
    );
  }
  if (code === "NoSuchBucket") {
    return failed("There is no such bucket at this endpoint.", "Check WASABI_BUCKET and WASABI_ENDPOINT.");
  }
  if ((code !== null && otherRegion.has(code)) || status === 301) {
    const named = /<(?:Region|Endpoint)>([^<]+)</.exec(answer.text)?.[1];
    return failed(
      `The bucket is in another region${named === undefined ? "" : ` (${named})`}.`,
      "Set WASABI_REGION and WASABI_ENDPOINT to the bucket's own in wrangler.toml, then npx wrangler deploy.",
    );
  }
  if (status === 501 || code === "NotImplemented") {
    return notCheckable("This store has no such operation.");
  }
  if (status === 503 || status === 500 || code === "SlowDown") {
    return notCheckable(`The store could not answer (${told(answer)}). Run doctor again.`);
  }
  return null;
}
