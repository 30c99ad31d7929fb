/** Asks an S3 store one signed question and keeps the whole answer: what it means is for the judges to say. */
import { XMLParser } from "fast-xml-parser";
import { z } from "zod";
import { encodeKey, type S3Access, s3Client } from "../s3.ts";

export type Answer = {
  /** 0: there was none. */
  status: number;
  /** The XML error code; where there was no answer, why. */
  code: string | null;
  text: string;
  headers: Headers;
};

export type Question = {
  method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** Empty: the bucket itself. */
  key?: string;
  query?: string;
  body?: string;
  headers?: Record<string, string>;
};

export type S3Probe = (question: Question) => Promise<Answer>;

const timeoutMs = 20_000;
const longestText = 256 * 1024;
const parser = new XMLParser({ parseTagValue: false, ignoreAttributes: true });

/** @returns the document, or null when the text is not XML */
export function xmlOf(text: string): unknown {
  try {
    return parser.parse(text);
  } catch {
    return null;
  }
}

const ErrorDocument = z.object({ Error: z.object({ Code: z.string() }) });
const errorCodeOf = (text: string) => ErrorDocument.safeParse(xmlOf(text)).data?.Error.Code ?? null;

/** A network error's own name is in its cause. */
export function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause as { code?: unknown } | undefined) : undefined;
  if (typeof cause?.code === "string") return cause.code;
  return error instanceof Error ? error.name : "unknown";
}

export const silence = (error: unknown): Answer => ({
  status: 0,
  code: reasonOf(error),
  text: "",
  headers: new Headers(),
});

export async function answerOf(response: Response): Promise<Answer> {
  const text = (await response.text()).slice(0, longestText);
  return { status: response.status, code: response.ok ? null : errorCodeOf(text), text, headers: response.headers };
}

export function s3Probe(access: S3Access, seen: (answer: Answer, sentAtMs: number) => void = () => undefined): S3Probe {
  const client = s3Client(access);
  return async ({ method, key = "", query = "", body, headers }) => {
    const path = key === "" ? access.bucket : `${access.bucket}/${encodeKey(key)}`;
    const sentAtMs = Date.now();
    try {
      const response = await client.fetch(`${access.endpoint}/${path}${query === "" ? "" : `?${query}`}`, {
        method,
        headers: { "x-amz-content-sha256": "UNSIGNED-PAYLOAD", ...headers },
        ...(body === undefined ? {} : { body }),
        redirect: "manual",
        signal: AbortSignal.timeout(timeoutMs),
      });
      const answer = await answerOf(response);
      seen(answer, sentAtMs);
      return answer;
    } catch (error) {
      return silence(error);
    }
  };
}
