/** Multipart uploads in Wasabi: create, send parts, copy parts inside the bucket, complete, abort. */
import { z } from "zod";
import { codeOf } from "../../schemas/failure-policy.ts";
import type { WasabiConfig } from "./config.ts";
import { bareEtag } from "./part-digest.ts";
import { StoreFailure } from "./store-failure.ts";
import { classifyWasabiError, errorCode, parseXml } from "./wasabi-error.ts";
import {
  answerText,
  drop,
  etagOf,
  refusalOf,
  sendConditional,
  sendOrThrow,
  sendSigned,
  transferTimeoutMs,
} from "./wasabi-request.ts";
import { encodeKey, objectUrl } from "./wasabi-url.ts";

export interface MultipartUpload {
  key: string;
  uploadId: string;
}

export type PartList = readonly { n: number; etag: string }[];

export interface PartBody {
  n: number;
  sizeBytes: number;
  body: ReadableStream<Uint8Array>;
  signal?: AbortSignal | undefined;
}

export interface PartCopy {
  n: number;
  from: number;
  sizeBytes: number;
  source: { key: string; etag: string };
}

const shortTimeoutMs = 30_000;
/** S3 may take minutes to join many parts. */
const completeTimeoutMs = 5 * 60_000;
const copyPartTimeoutMs = 10 * 60_000;

const uploadUrl = (config: WasabiConfig, upload: MultipartUpload) =>
  `${objectUrl(config, upload.key)}?uploadId=${encodeURIComponent(upload.uploadId)}`;

const partUrl = (config: WasabiConfig, upload: MultipartUpload, n: number) =>
  `${objectUrl(config, upload.key)}?partNumber=${n}&uploadId=${encodeURIComponent(upload.uploadId)}`;

const Created = z.object({ InitiateMultipartUploadResult: z.object({ UploadId: z.string().min(1) }) });
/** Its ETag may be empty; the object itself has it. */
const Completed = z.object({ CompleteMultipartUploadResult: z.union([z.string(), z.looseObject({})]) });
const CopiedPart = z.object({ CopyPartResult: z.object({ ETag: z.string().min(1) }) });

/** @returns the upload's id: record it before the first part, because Wasabi bills the parts of what is abandoned */
export async function createMultipart(config: WasabiConfig, key: string, contentType: string): Promise<string> {
  const operation = "the creation of an upload";
  const response = await sendOrThrow(config, {
    operation,
    method: "POST",
    url: `${objectUrl(config, key)}?uploads`,
    headers: { "content-type": contentType },
    timeoutMs: shortTimeoutMs,
  });
  return answerOf(operation, Created, await answerText(operation, response)).InitiateMultipartUploadResult.UploadId;
}

/** @returns the part's ETag */
export async function uploadPart(config: WasabiConfig, upload: MultipartUpload, part: PartBody): Promise<string> {
  const operation = "a part";
  const response = await sendOrThrow(config, {
    operation,
    method: "PUT",
    url: partUrl(config, upload, part.n),
    body: part.body,
    timeoutMs: transferTimeoutMs(part.sizeBytes),
    signal: part.signal,
  });
  await drop(response);
  return etagOf(operation, response.headers);
}

/**
 * Copies a range inside the bucket as one part, from the version named. Some stores read whatever version lies there now: look
 * at the source again before the copy counts.
 * @returns the part's ETag
 */
export async function copyPart(config: WasabiConfig, upload: MultipartUpload, part: PartCopy): Promise<string> {
  const operation = "the copy of a part";
  const request = {
    operation,
    method: "PUT",
    url: partUrl(config, upload, part.n),
    headers: {
      "x-amz-copy-source": `/${config.bucket}/${encodeKey(part.source.key)}`,
      "x-amz-copy-source-range": `bytes=${part.from}-${part.from + part.sizeBytes - 1}`,
    },
    timeoutMs: copyPartTimeoutMs,
  } as const;
  const response = await sendConditional(config, request, { "x-amz-copy-source-if-match": `"${part.source.etag}"` });
  return bareEtag(
    answerOf(operation, CopiedPart, await answerText(operation, response, copyPartTimeoutMs)).CopyPartResult.ETag,
  );
}

/**
 * @param options.onlyNew refuses to replace (ETAG_MISMATCH) where the store can
 * @throws StoreFailure UPLOAD_LOST when there is no such upload: it was aborted, or an earlier try has completed it
 */
export async function completeMultipart(
  config: WasabiConfig,
  upload: MultipartUpload,
  parts: PartList,
  { onlyNew = false }: { onlyNew?: boolean } = {},
): Promise<void> {
  const operation = "the completion of an upload";
  const request = {
    operation,
    method: "POST",
    url: uploadUrl(config, upload),
    headers: { "content-type": "application/xml" },
    body: completionBody(parts),
    timeoutMs: completeTimeoutMs,
  } as const;
  const response = onlyNew
    ? await sendConditional(config, request, { "if-none-match": "*" })
    : await sendOrThrow(config, request);
  answerOf(operation, Completed, await answerText(operation, response, completeTimeoutMs));
}

/** Ceph names the key. */
const saysGone: readonly (string | null)[] = ["NoSuchUpload", "NoSuchKey"];

/** True only when S3 itself says that there is no such upload: it was completed or aborted. */
export async function isUploadGone(config: WasabiConfig, upload: MultipartUpload): Promise<boolean> {
  const operation = "a listing of parts";
  const response = await sendSigned(config, {
    operation,
    method: "GET",
    url: `${uploadUrl(config, upload)}&max-parts=1`,
    timeoutMs: shortTimeoutMs,
  });
  if (response.status === 404) return saysGone.includes(errorCode(await answerText(operation, response)));
  await drop(response);
  return false;
}

export function completionBody(parts: PartList): string {
  const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const list = parts.map(({ n, etag }) => `<Part><PartNumber>${n}</PartNumber><ETag>"${escaped(etag)}"</ETag></Part>`);
  return `<CompleteMultipartUpload>${list.join("")}</CompleteMultipartUpload>`;
}

/** An upload that is gone counts as aborted. */
export async function abortMultipart(config: WasabiConfig, upload: MultipartUpload): Promise<void> {
  const response = await sendSigned(config, {
    operation: "the abortion of an upload",
    method: "DELETE",
    url: uploadUrl(config, upload),
    timeoutMs: shortTimeoutMs,
  });
  if (response.ok) return drop(response);
  const failure = await refusalOf(config, "the abortion of an upload", response);
  if (failure.code !== "UPLOAD_LOST" && failure.code !== "ORIGINAL_MISSING") throw failure;
}

/** S3 begins long answers with 200 and may end them with an error: only the result element counts. */
function answerOf<Shape extends z.ZodType>(operation: string, shape: Shape, body: string): z.infer<Shape> {
  const parsed = shape.safeParse(parseXml(body));
  if (parsed.success) return parsed.data;
  const code = errorCode(body);
  if (code !== null) throw classifyWasabiError(operation, { status: 500, code, retryAfterMs: null });
  throw new StoreFailure(codeOf("silence", "wasabi"), `Wasabi's answer to ${operation} cannot be read.`);
}
