/**
 * One read for everybody in this isolate who asks within a while, so that a flood of requests costs others no more than
 * one of them. Nobody waits for ever on another request's read: the runtime may end that request in the middle.
 */
import { within } from "./deadline.ts";

export interface SharedReadOptions<Value> {
  read(): Promise<Value>;
  /** How old an answer may be. */
  freshMs: number;
  /** How long a read may take; then whoever asks next begins another. */
  timeoutMs: number;
  /** After a read that failed nobody tries again for this long. */
  retryMs: number;
  onFault(fault: unknown): void;
}

export class SharedRead<Value> {
  readonly #options: SharedReadOptions<Value>;
  #known: { value: Value; atMs: number } | null = null;
  #reading: { promise: Promise<void>; atMs: number } | null = null;
  #failedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: SharedReadOptions<Value>) {
    this.#options = options;
  }

  /**
   * @param ctx keeps the read alive should its request end before it
   * @returns what was read last: older than `freshMs` when it cannot be read now, null when it never could be
   */
  async get(
    nowMs: number,
    ctx: Pick<ExecutionContext, "waitUntil">,
    freshMs = this.#options.freshMs,
  ): Promise<{ value: Value; atMs: number } | null> {
    const { timeoutMs, retryMs } = this.#options;
    const isFresh = this.#known !== null && nowMs - this.#known.atMs < freshMs;
    if (isFresh || nowMs - this.#failedAtMs < retryMs) return this.#known;
    if (this.#reading === null || nowMs - this.#reading.atMs > timeoutMs) {
      const promise = this.#read(nowMs);
      this.#reading = { promise, atMs: nowMs };
      ctx.waitUntil(promise);
    }
    await within(this.#reading.promise, timeoutMs, () => new Error(`no answer within ${timeoutMs} ms`)).catch(
      () => undefined,
    );
    return this.#known;
  }

  /** What is asked for next is read again. */
  forget(): void {
    this.#known = null;
    this.#reading = null;
    this.#failedAtMs = Number.NEGATIVE_INFINITY;
  }

  async #read(atMs: number): Promise<void> {
    const { read, timeoutMs, onFault } = this.#options;
    try {
      const value = await within(read(), timeoutMs, () => new Error(`no answer within ${timeoutMs} ms`));
      this.#known = { value, atMs };
    } catch (fault) {
      this.#failedAtMs = atMs;
      onFault(fault);
    } finally {
      if (this.#reading?.atMs === atMs) this.#reading = null;
    }
  }
}
