/**
 * Fetches one byte range of the original through its presigned URL, whatever it takes: resumes cuts, asks for a fresh
 * URL when the old one is refused, times out stalls. Gives all the bytes or a SourceFailure.
 */
import type { ClientRequest } from "node:http";
import { eachPiece, headersOf, keepConnections, openRequest, responseOf } from "../node-http.ts";
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
};

/** What reading has cost so far. Only ever grows. */
export type SourceCounts = {
  /** Received from the store, also what was fetched twice: what it bills, but for what lay on the line of a broken read. */
  bytes: number;
  /** Requests that had to be made again. */
  retries: number;
  freshUrls: number;
};

/** "progress": to be gone on with at once. */
type Attempt = { kind: "progress" } | SourceAnswer;

/** Firewalls forget an idle connection without a word, and a request on it would wait for the stall's end. */
const KEEP_IDLE_MS = 10_000;

/** The granted URL and so many fresh ones, refused one after the other: no URL will be let in. */
const MAX_REFUSALS = 6;

export class SourceReader {
  location: SourceLocation;
  /** Reads that wait for the store; each gives up by itself. */
  pendingReads = 0;
  readonly counts: SourceCounts = { bytes: 0, retries: 0, freshUrls: 0 };
  private readonly options: SourceReaderOptions;
  private readonly connections = keepConnections(KEEP_IDLE_MS);
  private refreshing: Promise<void> | null = null;

  constructor(options: SourceReaderOptions) {
    this.options = options;
    this.location = options.location;
  }

  /**
   * Bytes `from` to `to`, both inclusive, into new memory or into as much of `room`. Throws SourceFailure, or the signal's
   * reason when it was aborted.
   */
  async read(from: number, to: number, signal: AbortSignal, room?: Uint8Array): Promise<Uint8Array> {
    const sizeBytes = to - from + 1;
    const bytes = room?.subarray(0, sizeBytes) ?? new Uint8Array(sizeBytes);
    this.pendingReads++;
    try {
      await this.fill(bytes, from, signal);
      return bytes;
    } finally {
      this.pendingReads--;
    }
  }

  /** After the last read. */
  close(): void {
    this.connections.close();
  }

  private async fill(bytes: Uint8Array, from: number, signal: AbortSignal): Promise<void> {
    const to = from + bytes.length - 1;
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
      // The first refusal is an expiry, which needs no wait; a second one in a row does.
      if (refusals > 1) await this.options.sleep(refusalBackoffMs(refusals), signal);
      else if (fruitless > 1 || attempt.kind === "retry") await this.options.sleep(backoffMs(fruitless), signal);
      // After the wait: an address made before it may be of the old key still.
      if (attempt.kind === "expired" || attempt.kind === "refused") await this.refresh(location);
    }
  }

  private async attempt(
    { url, etag, sizeBytes }: SourceLocation,
    from: number,
    to: number,
    signal: AbortSignal,
    take: (piece: Uint8Array) => void,
  ): Promise<Attempt> {
    let request: ClientRequest | null = null;
    let stalled = false;
    let answered = false;
    let ended = false;
    const stop = () => request?.destroy();
    const timer = setTimeout(() => {
      stalled = true;
      stop();
    }, this.options.stallTimeoutMs);
    signal.addEventListener("abort", stop, { once: true });
    try {
      signal.throwIfAborted();
      const headers = { range: `bytes=${from}-${to}`, ...(etag ? { "if-match": quoted(etag) } : {}) };
      request = openRequest(url, { method: "GET", headers, connections: this.connections });
      const arrival = responseOf(request);
      request.end();
      const response = await arrival;
      answered = true;
      const status = response.statusCode ?? 0;
      const answer = judgeAnswer({ status, headers: headersOf(response) }, { from, to, sizeBytes, etag });
      if (answer === "refusal") return judgeRefusal(status, await beginningOf(response));
      if (answer !== "bytes") return answer;
      let leftBytes = to - from + 1;
      await eachPiece(response, (piece) => {
        timer.refresh();
        take(piece);
        leftBytes -= piece.length;
        // More than was asked for: it may have no end.
        if (leftBytes < 0) stop();
      });
      ended = true;
      return { kind: "progress" };
    } catch {
      // A store may close a kept connection at the moment it is used again: another one is all it takes.
      if (request?.reusedSocket && !answered && !stalled) return { kind: "progress" };
      // The error's own message may quote the URL.
      return { kind: "retry", why: stalled ? "the store stopped answering" : "the connection failed" };
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      // What is left of a body would have to be read before the connection's next answer.
      if (!ended) request?.destroy();
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
async function beginningOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of body) {
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

/** A minute over all refusals, as keys are replaced in the store and in the API one after the other. */
function refusalBackoffMs(refusals: number): number {
  return 4000 * 2 ** (refusals - 2);
}

function backoffMs(tries: number): number {
  return Math.min(8000, 250 * 2 ** Math.max(0, tries - 1));
}
