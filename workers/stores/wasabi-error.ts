/** Reads S3 error answers; what they mean is looked up by XML code first, by status where there is none. Pure. */
import { XMLParser } from "fast-xml-parser";
import { z } from "zod";
import { judged } from "../../schemas/failure-policy.ts";
import { StoreFailure } from "./store-failure.ts";

const parser = new XMLParser({ parseTagValue: false, ignoreAttributes: true });

/** @returns the document, or null when the text is not XML */
export function parseXml(text: string): unknown {
  try {
    return parser.parse(text);
  } catch {
    return null;
  }
}

const ErrorDocument = z.object({ Error: z.object({ Code: z.string().min(1), Message: z.string().optional() }) });

/** @returns the XML code of an error body, or null */
export function errorCode(body: string): string | null {
  const parsed = ErrorDocument.safeParse(parseXml(body));
  return parsed.success ? parsed.data.Error.Code : null;
}

export interface ErrorAnswer {
  status: number;
  /** From the XML body; null when there is none, as in every answer to a HEAD. */
  code: string | null;
  retryAfterMs: number | null;
  /** What was asked; named where there is no such bucket. */
  bucket?: string;
}

/** @param operation what was asked, in words; never an address, which may be signed */
export function classifyWasabiError(operation: string, answer: ErrorAnswer): StoreFailure {
  const { status, code, retryAfterMs, bucket } = answer;
  const meaning = (code === null ? null : judged("s3Code", code)) ?? judged("s3Status", status);
  const told = code === null ? `${status}` : `${status} ${code}`;
  const advice = meaning === "WASABI_FORBIDDEN" ? ` ${check(code, bucket)}` : "";
  return new StoreFailure(meaning, `Wasabi answered ${told} to ${operation}.${advice}`, { retryAfterMs });
}

const check = (code: string | null, bucket: string | undefined) =>
  code === "NoSuchBucket" && bucket !== undefined
    ? `There is no bucket "${bucket}" here: check WASABI_BUCKET, WASABI_REGION and WASABI_ENDPOINT.`
    : "Check the keys, the bucket and its policy.";
