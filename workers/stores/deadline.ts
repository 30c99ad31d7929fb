/** Ends what takes too long: promises that cannot be cancelled, and fetches until their headers are there. */

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
}

/** @throws TimeoutError when no headers came in time */
export async function fetchWithin(request: Request, { timeoutMs, signal }: TimedFetch): Promise<Response> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new DOMException("no answer in time", "TimeoutError")), timeoutMs);
  try {
    return await fetch(request, { signal: signal ? AbortSignal.any([late.signal, signal]) : late.signal });
  } finally {
    clearTimeout(timer);
  }
}
