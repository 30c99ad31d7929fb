/** Reads a request's body: bounded in bytes and in time, and JSON only where it says that it is. */
import { Refusal } from "./problem.ts";
import { within } from "./stores/deadline.ts";

export const MAX_BODY_BYTES = 1024 * 1024;
const BODY_TIMEOUT_MS = 30_000;

/**
 * A body that is not sent to its end is its caller's trouble, however it ends.
 * @throws Refusal PAYLOAD_TOO_LARGE as soon as the limit is passed, whatever Content-Length said; REQUEST_TIMEOUT;
 * BAD_REQUEST from a caller that hung up
 */
export async function readBody(request: Request, timeoutMs = BODY_TIMEOUT_MS): Promise<Uint8Array<ArrayBuffer>> {
  if (Number(request.headers.get("content-length") ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  if (request.body === null) return new Uint8Array();
  const reader = request.body.getReader();
  const late = () => new Refusal("REQUEST_TIMEOUT", `The body did not arrive within ${timeoutMs / 1000} seconds.`);
  try {
    return await within(readAll(reader), timeoutMs, late);
  } catch (thrown) {
    void reader.cancel().catch(() => undefined);
    throw thrown;
  }
}

const tooLarge = () => new Refusal("PAYLOAD_TOO_LARGE", `A body may have at most ${MAX_BODY_BYTES} bytes.`);

async function readAll(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for (;;) {
    const { done, value } = await reader.read().catch((cause: unknown) => {
      throw new Refusal("BAD_REQUEST", "The body broke off before its end.", { cause });
    });
    if (done) break;
    sizeBytes += value.byteLength;
    if (sizeBytes > MAX_BODY_BYTES) throw tooLarge();
    chunks.push(value);
  }
  const body = new Uint8Array(sizeBytes);
  let offset = 0;
  for (const chunk of chunks) {
    body.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return body;
}

/** No body means `{}`: what is missing is then told field by field. @throws Refusal */
export function parseJson(headers: Headers, body: Uint8Array): unknown {
  if (body.byteLength === 0) return {};
  const type = headers.get("content-type")?.split(";")[0]?.trim().toLowerCase() ?? "";
  if (type !== "application/json" && !/^application\/[\w.-]+\+json$/.test(type)) {
    throw new Refusal("UNSUPPORTED_MEDIA_TYPE", "The body must be sent as application/json.");
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(body));
  } catch {
    throw new Refusal("BAD_REQUEST", "The body is not JSON in UTF-8.", {
      errors: [{ path: "", message: "must be JSON" }],
    });
  }
}
