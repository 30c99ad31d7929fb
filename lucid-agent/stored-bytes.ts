/** A GET whose body comes as it is stored. fetch would unpack what is labelled with a Content-Encoding, rightly or not. */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";

export interface StoredAnswer {
  status: number;
  headers: Headers;
  /** Fails when it is cut before its end. */
  body: IncomingMessage;
}

/** Follows no redirect. Rejects when there is no answer, or `signal` fires, which also ends the body. */
export function getStored(
  url: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<StoredAnswer> {
  return new Promise((resolve, reject) => {
    const send = new URL(url).protocol === "https:" ? httpsRequest : httpRequest;
    const request = send(url, { headers, signal });
    // It may fail again after the answer.
    request.on("error", reject);
    request.once("response", (body) => {
      const answered = new Headers();
      for (const [name, values] of Object.entries(body.headersDistinct)) {
        for (const value of values ?? []) answered.append(name, value);
      }
      resolve({ status: body.statusCode ?? 0, headers: answered, body });
    });
    request.end();
  });
}
