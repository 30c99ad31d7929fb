/** One HTTP call with a timeout; an abort by the caller stays the caller's own reason. Never follows a redirect. */

export type HttpCall = {
  method: "GET" | "POST" | "PUT";
  headers?: Readonly<Record<string, string>>;
  body?: string;
  timeoutMs: number;
  signal: AbortSignal;
};

export type HttpAnswer = { status: number; headers: Headers; text: string };

/** No answer at all: refused, cut, or timed out. Its message holds neither the query string nor a header. */
export class Unanswered extends Error {
  override name = "Unanswered";
}

const maxAnswerBytes = 4 * 1024 * 1024;

/** Resolves with any status; throws Unanswered, or the signal's reason. */
export async function callHttp(url: string, call: HttpCall): Promise<HttpAnswer> {
  call.signal.throwIfAborted();
  const timeout = AbortSignal.timeout(Math.ceil(call.timeoutMs));
  try {
    const response = await fetch(url, {
      method: call.method,
      redirect: "manual",
      signal: AbortSignal.any([call.signal, timeout]),
      ...(call.headers === undefined ? {} : { headers: call.headers }),
      ...(call.body === undefined ? {} : { body: call.body }),
    });
    return { status: response.status, headers: response.headers, text: await boundedText(response.body ?? []) };
  } catch (error) {
    if (call.signal.aborted) throw call.signal.reason;
    const why = timeout.aborted ? `no answer within ${call.timeoutMs} ms` : reasonOf(error);
    throw new Unanswered(`${call.method} ${withoutQuery(url)}: ${why}`);
  }
}

export function isTransient(status: number): boolean {
  return status >= 500 || status === 408 || status === 425 || status === 429;
}

export function withoutQuery(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}

/** Throws when it is longer than any answer that is asked for. */
export async function boundedText(body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxAnswerBytes) throw new Error("the answer is too large");
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** undici says only "fetch failed"; the cause says why. */
export function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  const code = "code" in cause && typeof cause.code === "string" ? `${cause.code} ` : "";
  return `${code}${cause.message}`;
}
