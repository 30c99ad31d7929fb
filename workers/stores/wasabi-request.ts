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

export function s3Client(config: WasabiConfig): AwsClient {
  return new AwsClient({
    accessKeyId: config.accessKeyId,
    secretAccessKey: config.secretAccessKey,
    region: config.region,
    service: "s3",
    // A repeated request would send a body that has been read already.
    retries: 0,
  });
}

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
export async function sendSigned(client: AwsClient, request: WasabiRequest): Promise<Response> {
  const { operation, method, url, headers, body, timeoutMs, signal } = request;
  const signed = await client.sign(url, {
    method,
    headers: { "x-amz-content-sha256": "UNSIGNED-PAYLOAD", ...headers },
    ...(body === undefined ? {} : { body }),
    redirect: "manual",
  });
  try {
    return await fetchWithin(signed, { timeoutMs, signal });
  } catch (cause) {
    if (cause instanceof StoreFailure) throw cause;
    throw new StoreFailure(codeOf("silence", "wasabi"), `Wasabi did not answer to ${operation}.`, { cause });
  }
}

/** A refusal that breaks off is none: by its status alone, throttling (403) would count as wrong keys, for good. */
export async function refusalOf(operation: string, response: Response): Promise<StoreFailure> {
  let body: string;
  try {
    body = await answerText(operation, response);
  } catch (cause) {
    if (cause instanceof StoreFailure) return cause;
    throw cause;
  }
  return classifyWasabiError(operation, {
    status: response.status,
    code: errorCode(body),
    retryAfterMs: retryAfterMs(response.headers, Date.now()),
  });
}

/** @throws StoreFailure for every status but 2xx */
export async function sendOrThrow(client: AwsClient, request: WasabiRequest): Promise<Response> {
  const response = await sendSigned(client, request);
  if (response.ok) return response;
  throw await refusalOf(request.operation, response);
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
