/**
 * Reads a range of the source over HTTP. A body is accepted only as 206 with exactly the Content-Range asked for and
 * the pinned ETag; what any other answer means is told by `refusalOf`, apart from the reading.
 */
import { codeOf, judged } from "../schemas/failure-policy.ts";
import { AgentFailure } from "./failure.ts";
import { getStored, type StoredAnswer } from "./stored-bytes.ts";

export interface SourceRange {
  url: string;
  etag: string | undefined;
  from: number;
  sizeBytes: number;
}

export interface SourceTimeouts {
  /** Until the answer's headers are in. */
  answerMs: number;
  /** Between two pieces of the body. */
  idleMs: number;
}

/** A cut, a timeout, throttling: worth another try from where it stopped. */
export class SourceInterrupted extends Error {
  override readonly name = "SourceInterrupted";
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs = 0, cause?: unknown) {
    super(message, { cause });
    this.retryAfterMs = retryAfterMs;
  }
}

const errorBodyBytes = 4096;
const maxRetryAfterMs = 60_000;
const throttled = /RequestRateLimitExceeded|SlowDown|RequestTimeTooSkewed/;

function unquoted(etag: string): string {
  return etag.replace(/^W\//, "").replaceAll('"', "");
}

/** @returns why the answer must not be read, or null when its body is the range. */
export function refusalOf(
  status: number,
  headers: Headers,
  errorBody: string,
  range: SourceRange,
): AgentFailure | SourceInterrupted | null {
  if (status === 206) return rangeRefusal(headers, range);
  const retryAfterMs = Math.min((Number(headers.get("retry-after")) || 0) * 1_000, maxRetryAfterMs);
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    return new SourceInterrupted(`the source answered ${status}`, retryAfterMs);
  }
  const sign = status === 400 && errorBody.includes("ExpiredToken") ? "400 ExpiredToken" : status;
  const code = judged("agentSource", sign);
  if (code === "SOURCE_EXPIRED") {
    return throttled.test(errorBody)
      ? new SourceInterrupted(`the source answered ${status} for its rate limit`, retryAfterMs)
      : new AgentFailure(code, `The source answered ${status}: its URL is no longer accepted.`);
  }
  return new AgentFailure(code, sentences[status] ?? `The source answered ${status}.`);
}

const sentences: Readonly<Record<number, string>> = {
  200: "The source answered 200 to a ranged read: it cannot be trusted.",
  412: "The source is no longer the object that was verified.",
  416: "The source is shorter than announced.",
};

function rangeRefusal(headers: Headers, range: SourceRange): AgentFailure | null {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers.get("content-range") ?? "");
  const otherRange = codeOf("agentSource", "another range than asked");
  if (match === null) return new AgentFailure(otherRange, "The source's 206 names no range.");
  const [from, to, total] = match.slice(1).map(Number);
  if (total !== range.sizeBytes) {
    const code = codeOf("agentSource", "another size than asked");
    return new AgentFailure(code, `The source holds ${total} bytes, not ${range.sizeBytes}.`);
  }
  if (from !== range.from || to !== range.sizeBytes - 1) {
    return new AgentFailure(otherRange, "The source answered another range than asked for.");
  }
  const etag = headers.get("etag");
  if (range.etag !== undefined && etag !== null && unquoted(etag) !== unquoted(range.etag)) {
    const code = codeOf("agentSource", "another ETag than asked");
    return new AgentFailure(code, "The source is no longer the object that was verified.");
  }
  return null;
}

/**
 * Yields the source's bytes from `range.from` to its end, exactly.
 * @throws AgentFailure what trying again cannot fix
 * @throws SourceInterrupted what it can
 */
export async function* readSource(
  range: SourceRange,
  timeouts: SourceTimeouts,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const stall = new AbortController();
  let timer = setTimeout(() => stall.abort(), timeouts.answerMs);
  const rearm = (timeoutMs: number) => {
    clearTimeout(timer);
    timer = setTimeout(() => stall.abort(), timeoutMs);
  };
  try {
    const headers = {
      range: `bytes=${range.from}-${range.sizeBytes - 1}`,
      "accept-encoding": "identity",
      ...(range.etag === undefined ? {} : { "if-match": `"${unquoted(range.etag)}"` }),
    };
    const response = await getStored(range.url, headers, AbortSignal.any([signal, stall.signal]));
    rearm(timeouts.idleMs);
    const refusal = refusalOf(response.status, response.headers, await errorText(response), range);
    if (refusal !== null) throw refusal;
    let remaining = range.sizeBytes - range.from;
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      remaining -= chunk.length;
      if (remaining < 0) throw new AgentFailure("SIZE_MISMATCH", "The source sent more bytes than announced.");
      // The consumer's writing is not the source's silence.
      clearTimeout(timer);
      yield chunk;
      rearm(timeouts.idleMs);
    }
    if (remaining > 0) throw new SourceInterrupted(`the source stopped ${remaining} bytes early`);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof AgentFailure || error instanceof SourceInterrupted) throw error;
    // The error's own message may name the URL.
    throw new SourceInterrupted(stall.signal.aborted ? "the source fell silent" : "the connection was cut", 0, error);
  } finally {
    clearTimeout(timer);
    stall.abort();
  }
}

/** The first bytes of a refused answer, enough to tell throttling from expiry. */
async function errorText(response: StoredAnswer): Promise<string> {
  if (response.status === 206) return "";
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length >= errorBodyBytes) break;
  }
  return text.slice(0, errorBodyBytes);
}
