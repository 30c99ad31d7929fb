/**
 * Fetches one byte range of the original through its presigned URL, whatever it takes: resumes cuts, asks for a fresh
 * URL when the old one is refused, times out stalls. Gives all the bytes or a SourceFailure.
 */

export type SourceLocation = {
  /** Presigned: never logged, never put into a message. */
  url: string;
  /** Pins every read to the object that the job was made for. */
  etag?: string | undefined;
  sizeBytes: number;
};

export type SourceFailureCode = "ORIGINAL_MISSING" | "SOURCE_CHANGED" | "SOURCE_UNREADABLE" | "WASABI_UNAVAILABLE";

export class SourceFailure extends Error {
  override name = "SourceFailure";
  readonly code: SourceFailureCode;
  readonly retryable: boolean;

  constructor(code: SourceFailureCode, message: string, retryable: boolean) {
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}

export type SourceReaderOptions = {
  location: SourceLocation;
  /** A new presigned URL of the same object. */
  freshUrl: () => Promise<SourceLocation>;
  /** Longest wait for headers, and between two pieces of a body. */
  stallTimeoutMs: number;
  /** Tries in a row that may bring nothing. */
  maxFruitlessTries: number;
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  fetch: typeof fetch;
};

type Attempt =
  | { kind: "progress" }
  | { kind: "expired" }
  | { kind: "retry"; why: string }
  | { kind: "failed"; failure: SourceFailure };

export class SourceReader {
  location: SourceLocation;
  /** Reads that wait for the store; each gives up by itself. */
  pendingReads = 0;
  private readonly options: SourceReaderOptions;
  private refreshing: Promise<void> | null = null;

  constructor(options: SourceReaderOptions) {
    this.options = options;
    this.location = options.location;
  }

  /** Bytes `from` to `to`, both inclusive. Throws SourceFailure, or the signal's reason when it was aborted. */
  async read(from: number, to: number, signal: AbortSignal): Promise<Uint8Array> {
    this.pendingReads++;
    try {
      return await this.readWhole(from, to, signal);
    } finally {
      this.pendingReads--;
    }
  }

  private async readWhole(from: number, to: number, signal: AbortSignal): Promise<Uint8Array> {
    const bytes = new Uint8Array(to - from + 1);
    let filled = 0;
    let fruitless = 0;
    while (filled < bytes.length) {
      const location = this.location;
      const before = filled;
      const attempt = await this.attempt(location, from + filled, to, signal, (piece) => {
        bytes.set(piece.subarray(0, bytes.length - filled), filled);
        filled += Math.min(piece.length, bytes.length - filled);
      });
      signal.throwIfAborted();
      if (filled === bytes.length) break;
      if (attempt.kind === "failed") throw attempt.failure;
      fruitless = filled > before ? 0 : fruitless + 1;
      if (fruitless >= this.options.maxFruitlessTries) {
        const why =
          attempt.kind === "retry" ? attempt.why : attempt.kind === "expired" ? "access refused" : "cut short";
        // A store that is away is no fault of the asset's: it must not use up the asset's tries.
        const code = attempt.kind === "expired" ? "SOURCE_UNREADABLE" : "WASABI_UNAVAILABLE";
        throw new SourceFailure(code, `The original could not be read: ${why}.`, true);
      }
      if (attempt.kind === "expired") await this.refresh(location);
      // The first refusal is an expiry, which needs no wait; a second one in a row does.
      if (fruitless > 1 || attempt.kind === "retry") await this.options.sleep(backoffMs(fruitless), signal);
    }
    return bytes;
  }

  private async attempt(
    { url, etag, sizeBytes }: SourceLocation,
    from: number,
    to: number,
    signal: AbortSignal,
    take: (piece: Uint8Array) => void,
  ): Promise<Attempt> {
    const stall = new AbortController();
    let timer = setTimeout(() => stall.abort(), this.options.stallTimeoutMs);
    try {
      const headers = { range: `bytes=${from}-${to}`, ...(etag ? { "if-match": quoted(etag) } : {}) };
      const both = AbortSignal.any([signal, stall.signal]);
      const response = await this.options.fetch(url, { headers, signal: both, redirect: "error" });
      const refusal = judgeResponse(response, from, to, sizeBytes);
      if (refusal) {
        await response.body?.cancel().catch(() => {});
        return refusal;
      }
      for await (const piece of response.body ?? []) {
        clearTimeout(timer);
        timer = setTimeout(() => stall.abort(), this.options.stallTimeoutMs);
        take(piece);
      }
      return { kind: "progress" };
    } catch {
      // fetch's own message may quote the URL.
      return { kind: "retry", why: stall.signal.aborted ? "the store stopped answering" : "the connection failed" };
    } finally {
      clearTimeout(timer);
    }
  }

  /** One request for a URL at a time, however many reads found the old one refused. */
  private async refresh(refused: SourceLocation): Promise<void> {
    if (this.location !== refused) return;
    this.refreshing ??= this.options
      .freshUrl()
      .then((location) => {
        if (location.sizeBytes !== refused.sizeBytes) throw changed();
        // The pin stays the job's: a new URL must not bring in a new object.
        this.location = { ...location, etag: refused.etag ?? location.etag };
      })
      .finally(() => {
        this.refreshing = null;
      });
    try {
      await this.refreshing;
    } catch (error) {
      if (error instanceof SourceFailure) throw error;
      throw new SourceFailure("SOURCE_UNREADABLE", "No fresh address of the original could be had.", true);
    }
  }
}

function judgeResponse(response: Response, from: number, to: number, sizeBytes: number): Attempt | null {
  const fail = (code: SourceFailureCode, message: string, retryable: boolean): Attempt => ({
    kind: "failed",
    failure: new SourceFailure(code, message, retryable),
  });
  switch (response.status) {
    case 206:
      return response.headers.get("content-range") === `bytes ${from}-${to}/${sizeBytes}`
        ? null
        : fail("SOURCE_CHANGED", "The original is not the size it was when the job was made.", false);
    case 200:
      return fail("SOURCE_UNREADABLE", "The store does not answer byte ranges.", true);
    case 400:
    case 401:
    case 403:
      // Stores answer an expired signature with any of these, and Wasabi throttles with 403.
      return { kind: "expired" };
    case 404:
    case 410:
      return fail("ORIGINAL_MISSING", "The original is not in the store.", false);
    case 412:
    case 416:
      return { kind: "failed", failure: changed() };
    default:
      return { kind: "retry", why: `the store answered ${response.status}` };
  }
}

function changed(): SourceFailure {
  return new SourceFailure("SOURCE_CHANGED", "The original was replaced while the job was running.", false);
}

const quoted = (etag: string) => (etag.startsWith('"') ? etag : `"${etag}"`);

function backoffMs(tries: number): number {
  return Math.min(8000, 250 * 2 ** Math.max(0, tries - 1));
}
