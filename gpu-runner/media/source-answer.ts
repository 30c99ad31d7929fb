/**
 * What the store's answer to a ranged read means: bytes, an address that has expired, throttling (which Wasabi dresses up
 * as 403), a refusal that a fresh address may mend, or the end. Pure.
 */
import { judged } from "../../schemas/failure-policy.ts";

export type SourceAnswer =
  /** The address was good once: a fresh one is all it takes. */
  | { kind: "expired"; why: string }
  /** Refused for another reason, or for none given. A key may have been replaced since, so a fresh address is tried. */
  | { kind: "refused"; code: string; why: string }
  | { kind: "retry"; why: string }
  | {
      kind: "failed";
      code: "ORIGINAL_MISSING" | "SOURCE_CHANGED" | "SOURCE_UNREADABLE";
      message: string;
      retryable: boolean;
    };

export type AskedRange = { from: number; to: number; sizeBytes: number; etag?: string | undefined };

/** Error bodies are shorter; a store that sends more is not listened to. */
export const MAX_REFUSAL_CHARS = 4096;

const bare = (etag: string) => etag.replace(/^W\//, "").replaceAll('"', "");

const changed: SourceAnswer = {
  kind: "failed",
  code: "SOURCE_CHANGED",
  message: "The original was replaced while the job was running.",
  retryable: false,
};

/** By status and headers alone; "refusal": the body says which one. */
export function judgeAnswer(
  { status, headers }: Pick<Response, "status" | "headers">,
  { from, to, sizeBytes, etag }: AskedRange,
): SourceAnswer | "bytes" | "refusal" {
  const fail = (code: "ORIGINAL_MISSING" | "SOURCE_CHANGED" | "SOURCE_UNREADABLE", message: string): SourceAnswer => ({
    kind: "failed",
    code,
    message,
    retryable: code === "SOURCE_UNREADABLE",
  });
  switch (status) {
    case 206: {
      if (headers.get("content-range") !== `bytes ${from}-${to}/${sizeBytes}`) {
        return fail("SOURCE_CHANGED", "The original is not the size it was when the job was made.");
      }
      // If-Match asks for this already; a store or cache that ignores it must not mix two files into one.
      const answered = headers.get("etag");
      return etag && answered && bare(answered) !== bare(etag) ? changed : "bytes";
    }
    case 200:
      return fail("SOURCE_UNREADABLE", "The store does not answer byte ranges.");
    case 400:
    case 401:
    case 403:
      return "refusal";
    case 404:
    case 410:
      return fail("ORIGINAL_MISSING", "The original is not in the store.");
    case 412:
    case 416:
      return changed;
    default:
      return { kind: "retry", why: `the store answered ${status}` };
  }
}

const EXPIRED_CODES: ReadonlySet<string> = new Set(["ExpiredToken", "ExpiredPresignRequest", "TokenRefreshRequired"]);

/** `body`: the beginning of a 400, 401 or 403. Of its text only the code is repeated: the rest may quote the address. */
export function judgeRefusal(status: number, body: string): SourceAnswer {
  const code = /<Code>([A-Za-z0-9.]{1,64})<\/Code>/.exec(body)?.[1] ?? "";
  const why = `the store answered ${status} ${code}`.trim();
  if (judged("s3Code", code) === "WASABI_UNAVAILABLE") return { kind: "retry", why };
  const message = /<Message>([^<]{0,500})<\/Message>/.exec(body)?.[1] ?? "";
  if (EXPIRED_CODES.has(code) || /\bexpired\b/i.test(message)) return { kind: "expired", why };
  return { kind: "refused", code, why };
}
