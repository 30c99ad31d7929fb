/** Tells what an S3 error answer means: by its XML code first, by its status where there is none. Pure. */
import { XMLParser } from "fast-xml-parser";
import { z } from "zod";
import type { FailureCode } from "../../schemas/failure.ts";
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

const meanings: Readonly<Record<string, FailureCode>> = {
  SlowDown: "WASABI_UNAVAILABLE",
  ServiceUnavailable: "WASABI_UNAVAILABLE",
  InternalError: "WASABI_UNAVAILABLE",
  RequestTimeout: "WASABI_UNAVAILABLE",
  RequestTimeTooSkewed: "WASABI_UNAVAILABLE",
  OperationAborted: "WASABI_UNAVAILABLE",
  // Wasabi's throttling comes as a 403.
  RequestRateLimitExceeded: "WASABI_UNAVAILABLE",
  RequestLimitExceeded: "WASABI_UNAVAILABLE",
  BandwidthLimitExceeded: "WASABI_UNAVAILABLE",
  Throttling: "WASABI_UNAVAILABLE",
  ThrottlingException: "WASABI_UNAVAILABLE",
  TooManyRequests: "WASABI_UNAVAILABLE",
  // A wrong bucket is a wrong setting, never a missing original.
  NoSuchBucket: "WASABI_FORBIDDEN",
  NoSuchKey: "ORIGINAL_MISSING",
  NoSuchUpload: "UPLOAD_LOST",
  InvalidPart: "UPLOAD_LOST",
  InvalidPartOrder: "UPLOAD_LOST",
  EntityTooSmall: "UPLOAD_LOST",
  PreconditionFailed: "ETAG_MISMATCH",
  BadDigest: "CHECKSUM_MISMATCH",
  XAmzContentSHA256Mismatch: "CHECKSUM_MISMATCH",
  InvalidRange: "RANGE_NOT_SATISFIABLE",
};

function meaningOfStatus(status: number): FailureCode {
  if (status >= 500 || status === 429 || status === 408) return "WASABI_UNAVAILABLE";
  if (status === 401 || status === 403) return "WASABI_FORBIDDEN";
  if (status === 404) return "ORIGINAL_MISSING";
  if (status === 412) return "ETAG_MISMATCH";
  return status === 416 ? "RANGE_NOT_SATISFIABLE" : "BAD_REQUEST";
}

export interface ErrorAnswer {
  status: number;
  /** From the XML body; null when there is none, as in every answer to a HEAD. */
  code: string | null;
  retryAfterMs: number | null;
}

/** @param operation what was asked, in words; never an address, which may be signed */
export function classifyWasabiError(operation: string, { status, code, retryAfterMs }: ErrorAnswer): StoreFailure {
  const meaning = (code === null ? undefined : meanings[code]) ?? meaningOfStatus(status);
  const told = code === null ? `${status}` : `${status} ${code}`;
  return new StoreFailure(meaning, `Wasabi answered ${told} to ${operation}.`, { retryAfterMs });
}
