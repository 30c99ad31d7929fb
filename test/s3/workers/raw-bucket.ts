/** The suite's bucket, asked past everything that a test puts before the worker's own requests. */
import { AwsClient } from "aws4fetch";
import { encodeKey } from "../../../workers/stores/wasabi-url.ts";
import { localWasabiConfig } from "../../local-wasabi-worker.ts";

const { endpoint, bucket, region, accessKeyId, secretAccessKey } = localWasabiConfig();
const client = new AwsClient({ accessKeyId, secretAccessKey, region, service: "s3", retries: 0 });
/** Kept before any test takes its place. */
const send = globalThis.fetch.bind(globalThis);

type Ask = { query?: string; headers?: Record<string, string>; body?: string | Uint8Array<ArrayBuffer> };

/** @returns the answer's text and headers @throws for any status but 2xx */
export async function ask(
  method: string,
  key: string | null,
  { query = "", headers = {}, body }: Ask = {},
): Promise<{ text: string; headers: Headers }> {
  const url = `${endpoint}/${bucket}${key === null ? "" : `/${encodeKey(key)}`}${query}`;
  const unsigned = { "x-amz-content-sha256": "UNSIGNED-PAYLOAD", ...headers };
  const request = await client.sign(url, { method, headers: unsigned, ...(body === undefined ? {} : { body }) });
  const response = await send(request);
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${key ?? bucket}${query}: ${response.status} ${text}`);
  return { text, headers: response.headers };
}

const uploadQuery = (uploadId: string) => `?uploadId=${encodeURIComponent(uploadId)}`;
const elements = (text: string, name: string) =>
  [...text.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, "g"))].map(([, value]) => value ?? "");

export async function createUpload(key: string): Promise<string> {
  const [uploadId] = elements((await ask("POST", key, { query: "?uploads" })).text, "UploadId");
  if (uploadId === undefined) throw new Error("no upload was created");
  return uploadId;
}

export async function abortUpload(key: string, uploadId: string): Promise<void> {
  await ask("DELETE", key, { query: uploadQuery(uploadId) });
}

/** As its owner would, with the parts that are there. */
export async function completeUpload(key: string, uploadId: string): Promise<void> {
  const { text } = await ask("GET", key, { query: uploadQuery(uploadId) });
  const etags = elements(text, "ETag");
  const parts = elements(text, "PartNumber").map((n, index) => ({ n, etag: etags[index] ?? "" }));
  const list = parts.map(({ n, etag }) => `<Part><PartNumber>${n}</PartNumber><ETag>${etag}</ETag></Part>`);
  const body = `<CompleteMultipartUpload>${list.join("")}</CompleteMultipartUpload>`;
  await ask("POST", key, { query: uploadQuery(uploadId), body });
}

export async function partCount(key: string, uploadId: string): Promise<number> {
  return elements((await ask("GET", key, { query: uploadQuery(uploadId) })).text, "PartNumber").length;
}

/** An object of `copies` times the same bytes, joined inside the store. */
export async function putRepeated(key: string, piece: Uint8Array<ArrayBuffer>, copies: number): Promise<void> {
  const pieceKey = `${key}.piece`;
  await ask("PUT", pieceKey, { body: piece });
  const uploadId = await createUpload(key);
  const headers = { "x-amz-copy-source": `/${bucket}/${encodeKey(pieceKey)}` };
  for (let n = 1; n <= copies; n++) {
    await ask("PUT", key, { query: `${uploadQuery(uploadId)}&partNumber=${n}`, headers });
  }
  await completeUpload(key, uploadId);
}

export async function copyOver(fromKey: string, toKey: string): Promise<void> {
  await ask("PUT", toKey, { headers: { "x-amz-copy-source": `/${bucket}/${encodeKey(fromKey)}` } });
}

export async function byteAt(key: string, offset: number): Promise<string> {
  return (await ask("GET", key, { headers: { range: `bytes=${offset}-${offset}` } })).text;
}

/** Ids of the open uploads below a prefix. */
export async function openUploads(prefix: string): Promise<string[]> {
  const query = `?uploads&prefix=${encodeURIComponent(prefix)}`;
  return elements((await ask("GET", null, { query })).text, "UploadId");
}
