/**
 * Ends what takes too long: promises that cannot be cancelled, fetches until their headers are there, small answers. The only
 * file that calls `fetch`, so that every request goes past the platform's cache.
 */

/** @throws what `failure` makes once `timeoutMs` have passed; the work itself is left to end by itself. */
export async function within<T>(work: Promise<T>, timeoutMs: number, failure: () => Error): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(failure()), timeoutMs);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

export interface TimedFetch {
  /** Until the headers are there. The body has no limit of its own: its reader must watch for silence. */
  timeoutMs: number;
  /** Ends the fetch and its body whenever it fires. */
  signal?: AbortSignal | undefined;
  /** The body's bytes as they are stored, whatever Content-Encoding they are labelled with: labels may be wrong, and ranges of
   * packed bytes cannot be unpacked. */
  asStored?: boolean;
}

/** @throws TimeoutError when no headers came in time */
export async function fetchWithin(request: Request, { timeoutMs, signal, asStored }: TimedFetch): Promise<Response> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new DOMException("no answer in time", "TimeoutError")), timeoutMs);
  try {
    return await fetch(request, {
      // The cache would make a GET of a HEAD, drop conditions and ranges, and might answer with older bytes.
      cache: "no-store",
      encodeResponseBody: asStored ? "manual" : "automatic",
      signal: signal ? AbortSignal.any([late.signal, signal]) : late.signal,
    });
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The text of a small answer; the rest of a large one is thrown away.
 * @throws TimeoutError, or what the connection does
 */
export async function textWithin(
  response: Response,
  { limitBytes, timeoutMs }: { limitBytes: number; timeoutMs: number },
): Promise<string> {
  if (response.body === null) return "";
  const reader = response.body.getReader();
  const late = () => new DOMException("the answer did not end in time", "TimeoutError");
  try {
    return await within(readText(reader, limitBytes), timeoutMs, late);
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

async function readText(reader: ReadableStreamDefaultReader<Uint8Array>, limitBytes: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for (let readBytes = 0; readBytes < limitBytes; ) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    readBytes += value.length;
    text += decoder.decode(value, { stream: true });
  }
  return text;
}
