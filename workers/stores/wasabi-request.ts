/** Sends one signed request to Wasabi: with a deadline, never repeated, every failure told as a StoreFailure. */
import { AwsClient } from "aws4fetch";
import { codeOf } from "../../schemas/failure-policy.ts";
import type { WasabiConfig } from "./config.ts";
import { fetchWithin, textWithin } from "./deadline.ts";
import { bareEtag } from "./part-digest.ts";
import { retryAfterMs, StoreFailure } from "./store-failure.ts";
import { classifyWasabiError, errorCode } from "./wasabi-error.ts";

export interface WasabiRequest {
  /** What it is for, in words, for messages. */
  operation: string;
  method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  url: string;
  headers?: Record<string, string>;
  /** A stream must have a known length (FixedLengthStream): S3 takes no chunked bodies. */
  body?: ReadableStream<Uint8Array> | string;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

function s3Client({ accessKeyId, secretAccessKey, region }: WasabiConfig): AwsClient {
  // A repeated request would send a body that has been read already.
  return new AwsClient({ accessKeyId, secretAccessKey, region, service: "s3", retries: 0 });
}

/** The platform may drop or rewrite any other header on its way, and the signature would no longer hold. */
const isSigned = (name: string) => name.startsWith("x-amz-");

const always = { "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "accept-encoding": "identity" };

async function signedRequest(config: WasabiConfig, { method, url, headers = {}, body }: WasabiRequest) {
  const all = Object.entries({ ...always, ...headers });
  const request = await s3Client(config).sign(url, {
    method,
    headers: Object.fromEntries(all.filter(([name]) => isSigned(name))),
    ...(body === undefined ? {} : { body }),
    redirect: "manual",
  });
  for (const [name, value] of all) if (!isSigned(name)) request.headers.set(name, value);
  return request;
}

type Bucket = Pick<WasabiConfig, "bucket">;

const longestAnswer = 64 * 1024;
const answerTimeoutMs = 30_000;

/** An XML answer's text. @throws StoreFailure WASABI_UNAVAILABLE when it breaks off or does not end */
export async function answerText(
  operation: string,
  response: Response,
  timeoutMs = answerTimeoutMs,
  limitBytes = longestAnswer,
): Promise<string> {
  try {
    return await textWithin(response, { limitBytes, timeoutMs });
  } catch (cause) {
    throw new StoreFailure(codeOf("silence", "wasabi"), `Wasabi's answer to ${operation} broke off.`, { cause });
  }
}

/** @returns the answer, whatever its status @throws StoreFailure WASABI_UNAVAILABLE when there was none in time */
export async function sendSigned(config: WasabiConfig, request: WasabiRequest): Promise<Response> {
  const { operation, timeoutMs, signal } = request;
  try {
    return await fetchWithin(await signedRequest(config, request), { timeoutMs, signal, asStored: true });
  } catch (cause) {
    if (cause instanceof StoreFailure) throw cause;
    throw new StoreFailure(codeOf("silence", "wasabi"), `Wasabi did not answer to ${operation}.`, { cause });
  }
}

/** @throws StoreFailure for every status but 2xx */
export async function sendOrThrow(config: WasabiConfig, request: WasabiRequest): Promise<Response> {
  const response = await sendSigned(config, request);
  if (response.ok) return response;
  throw await refusalOf(config, request.operation, response);
}

/**
 * With a condition where the store knows it. Some ignore it and some refuse it (NotImplemented), so that nothing may rest on
 * it alone: whoever asks looks before and after.
 */
export async function sendConditional(
  config: WasabiConfig,
  request: WasabiRequest & { body?: string },
  condition: Record<string, string>,
): Promise<Response> {
  const { operation, headers } = request;
  const response = await sendSigned(config, { ...request, headers: { ...headers, ...condition } });
  if (response.ok) return response;
  const text = await answerText(operation, response);
  if (errorCode(text) === "NotImplemented") return sendOrThrow(config, request);
  throw refusalSaid(config, operation, response, text);
}

/** A refusal that breaks off is none: by its status alone, throttling (403) would count as wrong keys, for good. */
export async function refusalOf(config: Bucket, operation: string, response: Response): Promise<StoreFailure> {
  let body: string;
  try {
    body = await answerText(operation, response);
  } catch (cause) {
    if (cause instanceof StoreFailure) return cause;
    throw cause;
  }
  return refusalSaid(config, operation, response, body);
}

function refusalSaid({ bucket }: Bucket, operation: string, { status, headers }: Response, body: string): StoreFailure {
  const code = errorCode(body);
  return classifyWasabiError(operation, { status, code, bucket, retryAfterMs: retryAfterMs(headers, Date.now()) });
}

export async function drop(response: Response): Promise<void> {
  await response.body?.cancel();
}

/** @throws StoreFailure WASABI_UNAVAILABLE when the answer has none, which says that it is not S3 that answered */
export function etagOf(operation: string, headers: Headers): string {
  const etag = headers.get("etag");
  if (etag !== null && etag !== "") return bareEtag(etag);
  throw new StoreFailure(codeOf("s3Answer", "no ETag"), `Wasabi's answer to ${operation} has no ETag.`);
}

/** A body of this size must not take longer: at least 256 KiB a second, after a minute's grace. */
export function transferTimeoutMs(sizeBytes: number): number {
  return 60_000 + Math.ceil(sizeBytes / 256);
}
