/** What the local clients need of S3: object URLs, an AwsClient for Wasabi, and a streamed multipart upload. */
import { AwsClient } from "aws4fetch";
import { XMLParser } from "fast-xml-parser";
import { z } from "zod";

export type S3Access = {
  endpoint: string;
  bucket: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
};

/** SigV4 signs the path as sent: every byte outside the unreserved set is escaped, `+` and `!'()*` too. */
export function encodeKey(key: string): string {
  return key
    .split("/")
    .map((segment) =>
      encodeURIComponent(segment).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`),
    )
    .join("/");
}

export function objectUrl(access: Pick<S3Access, "endpoint" | "bucket">, key: string): string {
  return `${access.endpoint}/${access.bucket}/${encodeKey(key)}`;
}

export function s3Client(access: S3Access): AwsClient {
  return new AwsClient({
    accessKeyId: access.accessKeyId,
    secretAccessKey: access.secretAccessKey,
    region: access.region,
    service: "s3",
    retries: 0,
  });
}

const requestTimeoutMs = 120_000;
const partAttempts = 4;

const CreatedUpload = z.object({
  InitiateMultipartUploadResult: z.object({ UploadId: z.string().min(1) }),
});
const CompletedUpload = z.object({
  /** Its ETag may be empty. */
  CompleteMultipartUploadResult: z.looseObject({ ETag: z.string() }),
});
const xml = new XMLParser({ parseTagValue: false });

export class S3Error extends Error {
  readonly status: number;
  constructor(what: string, status: number, body: string) {
    const code = /<Code>([^<]+)<\/Code>/.exec(body)?.[1] ?? "no code";
    super(`Wasabi refused ${what}: HTTP ${status} ${code}`);
    this.name = "S3Error";
    this.status = status;
  }
}

async function send(client: AwsClient, what: string, url: string, init: RequestInit): Promise<Response> {
  const response = await client.fetch(url, {
    ...init,
    headers: {
      "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
      ...(init.headers as Record<string, string> | undefined),
    },
    signal: AbortSignal.timeout(requestTimeoutMs),
  });
  if (!response.ok) throw new S3Error(what, response.status, await response.text());
  return response;
}

async function sendPart(client: AwsClient, url: string, n: number, body: Uint8Array<ArrayBuffer>): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      const response = await send(client, `part ${n}`, url, {
        method: "PUT",
        body,
      });
      await response.arrayBuffer();
      return z
        .string()
        .min(1, `part ${n} came back without an ETag`)
        .parse(response.headers.get("etag") ?? "");
    } catch (error) {
      const permanent = error instanceof S3Error && error.status < 500 && error.status !== 429;
      if (permanent || attempt === partAttempts) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt));
    }
  }
}

/** Cuts a byte stream into parts of exactly `partSizeBytes`, the last one shorter; holds one part at a time. */
export async function* cutParts(
  chunks: AsyncIterable<Uint8Array>,
  partSizeBytes: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let part = new Uint8Array(partSizeBytes);
  let filled = 0;
  for await (const chunk of chunks) {
    for (let offset = 0; offset < chunk.length; ) {
      const slice = chunk.subarray(offset, offset + partSizeBytes - filled);
      part.set(slice, filled);
      filled += slice.length;
      offset += slice.length;
      if (filled === partSizeBytes) {
        yield part;
        part = new Uint8Array(partSizeBytes);
        filled = 0;
      }
    }
  }
  if (filled > 0) yield part.subarray(0, filled);
}

/** S3 takes at most 10,000 parts: 8 MiB each until that is not enough, then whole MiB more. */
export function partSizeFor(sizeBytes: number): number {
  const mebibyte = 1024 * 1024;
  return Math.max(8 * mebibyte, Math.ceil(sizeBytes / 10_000 / mebibyte) * mebibyte);
}

/**
 * Uploads a stream as one multipart object with two parts on the way at a time; on failure the upload is aborted, so
 * that no part is left behind to be billed.
 */
export async function uploadMultipart(
  access: S3Access,
  key: string,
  chunks: AsyncIterable<Uint8Array>,
  options: { sizeBytes: number; onProgress?: (sentBytes: number) => void },
): Promise<void> {
  const client = s3Client(access);
  const url = objectUrl(access, key);
  const created = await send(client, "the upload", `${url}?uploads`, {
    method: "POST",
  });
  const { UploadId: uploadId } = CreatedUpload.parse(xml.parse(await created.text())).InitiateMultipartUploadResult;
  const partUrl = (n: number) => `${url}?partNumber=${n}&uploadId=${encodeURIComponent(uploadId)}`;
  try {
    const etags: string[] = [];
    let sentBytes = 0;
    const inFlight = new Set<Promise<void>>();
    let n = 0;
    for await (const part of cutParts(chunks, partSizeFor(options.sizeBytes))) {
      const index = n++;
      const sending: Promise<void> = sendPart(client, partUrl(index + 1), index + 1, part)
        .then((etag) => {
          etags[index] = etag;
          sentBytes += part.length;
          options.onProgress?.(sentBytes);
        })
        .finally(() => inFlight.delete(sending));
      // Awaited below; marked as handled so that a second failing part is not an unhandled rejection.
      sending.catch(() => undefined);
      inFlight.add(sending);
      if (inFlight.size >= 2) await Promise.race(inFlight);
    }
    await Promise.all(inFlight);
    const body = `<CompleteMultipartUpload>${etags
      .map((etag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${etag}</ETag></Part>`)
      .join("")}</CompleteMultipartUpload>`;
    const completed = await send(client, "to complete", `${url}?uploadId=${encodeURIComponent(uploadId)}`, {
      method: "POST",
      body,
    });
    // S3 may answer 200 and put an error in the body: only the result element counts.
    CompletedUpload.parse(xml.parse(await completed.text()));
  } catch (error) {
    await send(client, "to abort", `${url}?uploadId=${encodeURIComponent(uploadId)}`, { method: "DELETE" }).catch(
      () => undefined,
    );
    throw error;
  }
}
