/**
 * One PUT of bytes that are in memory, without another copy of them: fetch makes one of the whole body, and TLS keeps
 * encrypted whatever it is given at once. Answers and errors are those of `http-call.ts`.
 */
import type { ClientRequest } from "node:http";
import { headersOf, openRequest, responseOf } from "../node-http.ts";
import { boundedText, type HttpAnswer, reasonOf, Unanswered, withoutQuery } from "./http-call.ts";

export type HttpPut = {
  headers: Readonly<Record<string, string>>;
  body: Uint8Array;
  timeoutMs: number;
  signal: AbortSignal;
};

const sliceBytes = 256 * 1024;

/** Resolves with any status; throws Unanswered, or the signal's reason. Once settled, nothing reads the body any more. */
export async function putBytes(url: string, put: HttpPut): Promise<HttpAnswer> {
  put.signal.throwIfAborted();
  const timeout = AbortSignal.timeout(Math.ceil(put.timeoutMs));
  const headers = { ...put.headers, "content-length": put.body.length };
  const signal = AbortSignal.any([put.signal, timeout]);
  const request = openRequest(url, { method: "PUT", headers, signal });
  const arrival = responseOf(request);
  sendFrom(0, put.body, request);
  try {
    const response = await arrival;
    return { status: response.statusCode ?? 0, headers: headersOf(response), text: await boundedText(response) };
  } catch (error) {
    if (put.signal.aborted) throw put.signal.reason;
    const why = timeout.aborted ? `no answer within ${put.timeoutMs} ms` : reasonOf(error);
    throw new Unanswered(`PUT ${withoutQuery(url)}: ${why}`);
  } finally {
    // A store may refuse a body before it has all of it; the connection is of no use then.
    if (!request.writableFinished) request.destroy();
  }
}

function sendFrom(offset: number, body: Uint8Array, request: ClientRequest): void {
  for (let at = offset; at < body.length; at += sliceBytes) {
    const next = at + sliceBytes;
    if (!request.write(body.subarray(at, next))) {
      request.once("drain", () => sendFrom(next, body, request));
      return;
    }
  }
  request.end();
}
