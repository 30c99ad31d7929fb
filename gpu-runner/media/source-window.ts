/**
 * Fetches one byte range of the original through its presigned URL, whatever it takes: resumes cuts, asks for a fresh
 * URL when the old one is refused, times out stalls. Gives all the bytes or a SourceFailure.
 */
import { judgeAnswer, judgeRefusal, MAX_REFUSAL_CHARS, type SourceAnswer } from "./source-answer.ts";

export type SourceLocation = {
  /** Presigned: never logged, never put into a message. */
  url: string;
  /** Pins every read to the object that the job was made for. */
  etag?: string | undefined;
  sizeBytes: number;
};

export type SourceFailureCode =
  | "ORIGINAL_MISSING"
  | "SOURCE_CHANGED"
  | "SOURCE_UNREADABLE"
  | "WASABI_UNAVAILABLE"
  | "WASABI_FORBIDDEN";

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

/** What reading has cost so far. Only ever grows. */
export type SourceCounts = {
  /** Received from the store, also what was fetched twice: what it bills, but for what lay on the line of a broken read. */
  bytes: number;
  /** Requests that had to be made again. */
  retries: number;
  freshUrls: number;
};

type Attempt = { kind: "progress" } | SourceAnswer;

/** The granted URL and so many fresh ones, refused one after the other: no URL will be let in. */
const MAX_REFUSALS = 6;

export class SourceReader {
  location: SourceLocation;
  /** Reads that wait for the store; each gives up by itself. */
  pendingReads = 0;
  readonly counts: SourceCounts = { bytes: 0, retries: 0, freshUrls: 0 };
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
    let refusals = 0;
    while (filled < bytes.length) {
      const location = this.location;
      const before = filled;
      const attempt = await this.attempt(location, from + filled, to, signal, (piece) => {
        this.counts.bytes += piece.length;
        bytes.set(piece.subarray(0, bytes.length - filled), filled);
        filled += Math.min(piece.length, bytes.length - filled);
      });
      signal.throwIfAborted();
      if (filled === bytes.length) break;
      if (attempt.kind === "failed") throw new SourceFailure(attempt.code, attempt.message, attempt.retryable);
      fruitless = filled > before ? 0 : fruitless + 1;
      // Without the store's own word for it, the refusal may be that of a proxy in between.
      refusals = attempt.kind === "refused" && attempt.code !== "" ? refusals + 1 : 0;
      if (refusals >= MAX_REFUSALS) throw forbidden(attempt);
      if (fruitless >= this.options.maxFruitlessTries) throw givenUp(attempt);
      this.counts.retries++;
      if (attempt.kind === "expired" || attempt.kind === "refused") await this.refresh(location);
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
      const answer = judgeAnswer(response, { from, to, sizeBytes, etag });
      if (answer === "refusal") return judgeRefusal(response.status, await beginningOf(response));
      if (answer !== "bytes") {
        await response.body?.cancel().catch(() => {});
        return answer;
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
        this.counts.freshUrls++;
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

/** Enough of a body to find the store's code in; the rest is not waited for. */
async function beginningOf(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of response.body ?? []) {
    text += decoder.decode(piece, { stream: true });
    if (text.length >= MAX_REFUSAL_CHARS) break;
  }
  return text.slice(0, MAX_REFUSAL_CHARS);
}

function changed(): SourceFailure {
  return new SourceFailure("SOURCE_CHANGED", "The original was replaced while the job was running.", false);
}

function forbidden(attempt: Attempt): SourceFailure {
  const why = attempt.kind === "refused" ? attempt.why : "access refused";
  return new SourceFailure("WASABI_FORBIDDEN", `The store lets no address of the original in: ${why}.`, false);
}

function givenUp(attempt: Attempt): SourceFailure {
  const why = "why" in attempt ? attempt.why : "cut short";
  // A store that is away is no fault of the asset's: it must not use up the asset's tries.
  const refused = attempt.kind === "expired" || attempt.kind === "refused";
  const code = refused ? "SOURCE_UNREADABLE" : "WASABI_UNAVAILABLE";
  return new SourceFailure(code, `The original could not be read: ${why}.`, true);
}

const quoted = (etag: string) => (etag.startsWith('"') ? etag : `"${etag}"`);

function backoffMs(tries: number): number {
  return Math.min(8000, 250 * 2 ** Math.max(0, tries - 1));
}
