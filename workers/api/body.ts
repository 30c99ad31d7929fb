/** Reads a request's body: bounded, and JSON only where it says that it is. */
import { Refusal } from "../problem.ts";

export const MAX_BODY_BYTES = 1024 * 1024;

/** @throws Refusal PAYLOAD_TOO_LARGE as soon as the limit is passed, whatever Content-Length said */
export async function readBody(request: Request): Promise<Uint8Array<ArrayBuffer>> {
  const tooLarge = () => new Refusal("PAYLOAD_TOO_LARGE", `A body may have at most ${MAX_BODY_BYTES} bytes.`);
  if (Number(request.headers.get("content-length") ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of request.body ?? []) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > MAX_BODY_BYTES) throw tooLarge();
    chunks.push(chunk);
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
