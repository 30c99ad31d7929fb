/** Speaks to an agent as the worker does, and builds requests for bytes. */
import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { PlaceRequest, Transfer } from "../../schemas/agent-protocol.ts";

export const token = "a-bearer-token-only-for-tests";

export function bytesOf(sizeBytes: number, seed = "seed"): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let offset = 0, n = 0; offset < sizeBytes; offset += 32, n += 1) {
    createHash("sha256").update(`${seed}${n}`).digest().copy(bytes, offset);
  }
  return bytes;
}

export function compositeOf(bytes: Buffer, partSizeBytes: number): PlaceRequest["sha256"] {
  const digests: Buffer[] = [];
  for (let offset = 0; offset < bytes.length; offset += partSizeBytes) {
    digests.push(
      createHash("sha256")
        .update(bytes.subarray(offset, offset + partSizeBytes))
        .digest(),
    );
  }
  const composite = createHash("sha256").update(Buffer.concat(digests)).digest("hex");
  return { partSizeBytes, parts: digests.length, composite };
}

export function placeOf(
  bytes: Buffer,
  sourceUrl: string,
  callbackUrl: string,
  more: { fileId?: string; op?: number; etag?: string; partSizeBytes?: number } = {},
): PlaceRequest {
  const { fileId = "0123456789abcdef01234567", op = 1, etag = "abc123", partSizeBytes = 64 * 1024 } = more;
  return PlaceRequest.parse({
    key: `Clients/acme/launch/${fileId}_1080p.mp4`,
    source: { url: sourceUrl, etag },
    sizeBytes: bytes.length,
    sha256: compositeOf(bytes, partSizeBytes),
    callback: { url: callbackUrl, fileId, quality: "1080p", op, commandId: `${fileId}:7:0` },
  });
}

export interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came
  body: any;
}

export async function ask(
  agentUrl: string,
  method: string,
  path: string,
  body?: unknown,
  bearer: string | null = token,
): Promise<Answer> {
  const response = await fetch(`${agentUrl}${path}`, {
    method,
    headers: {
      ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    signal: AbortSignal.timeout(20_000),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === "" ? null : JSON.parse(text) };
}

/** Polls until the condition holds, for a minute at most. */
export async function until<Value>(
  read: () => Promise<Value> | Value,
  holds: (value: Value) => boolean,
): Promise<Value> {
  for (let n = 0; n < 2_400; n += 1) {
    const value = await read();
    if (holds(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`not reached; last seen: ${JSON.stringify(await read())}`);
}

export function settledTransfer(agentUrl: string, id: string): Promise<Transfer> {
  return until(
    async () => Transfer.parse((await ask(agentUrl, "GET", `/v1/transfers/${id}`)).body),
    ({ status }) => status === "durable" || status === "failed",
  );
}

/** Every file below a directory, dot-names too, as relative paths. */
export async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(directory.length + 1))
    .sort();
}
