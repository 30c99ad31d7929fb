/**
 * A runner that waits for a message. Its answer begins once it has to wait, and is filled with spaces, which JSON allows
 * before a value: only what is written shows that a runner has left, and nobody in between takes the connection for dead.
 */
import type { PullAnswer, PulledQueue } from "../schemas/runner-protocol.ts";
import { within } from "../workers/stores/deadline.ts";
import type { PullRefusal } from "./pull-door.ts";

/**
 * Small writes: whoever does not take one for so long is not there. A connection that ends just as the answer begins does
 * not fail a write, and leaves it pending.
 */
const writeLimitMs = 2_000;
const utf8 = new TextEncoder();
const space = utf8.encode(" ");

export class PullWaiter {
  /** Rejects never. */
  readonly response: Promise<Response>;
  readonly untilMs: number;
  /** Wants one look at the queues, and no waiting. */
  readonly isHasty: boolean;
  readonly #rushOnly: boolean;
  readonly #answer: (response: Response) => void;
  #writer: WritableStreamDefaultWriter<Uint8Array> | null = null;
  #writingSinceMs: number | null = null;
  #hasLeft = false;

  constructor(nowMs: number, { waitMs, rushOnly }: { waitMs: number; rushOnly: boolean }) {
    const { promise, resolve } = Promise.withResolvers<Response>();
    this.response = promise;
    this.#answer = resolve;
    this.untilMs = nowMs + waitMs;
    this.isHasty = waitMs === 0;
    this.#rushOnly = rushOnly;
  }

  get hasLeft(): boolean {
    return this.#hasLeft;
  }

  takes(queue: PulledQueue): boolean {
    return queue === "transcode-rush" || !this.#rushOnly;
  }

  keepWaiting(nowMs: number): void {
    if (this.#writingSinceMs !== null) {
      if (nowMs - this.#writingSinceMs >= writeLimitMs) this.#leave();
      return;
    }
    this.#writer ??= this.#begin();
    this.#writingSinceMs = nowMs;
    this.#writer.write(space).then(
      () => {
        this.#writingSinceMs = null;
      },
      () => {
        this.#hasLeft = true;
      },
    );
  }

  #begin(): WritableStreamDefaultWriter<Uint8Array> {
    const { readable, writable } = new IdentityTransformStream();
    const writer = writable.getWriter();
    writer.closed.catch(() => {
      this.#hasLeft = true;
    });
    this.#answer(new Response(readable));
    return writer;
  }

  /** Who is there after all finds its answer broken off, and asks again. */
  #leave(): void {
    this.#hasLeft = true;
    this.#writer?.abort(new Error("the answer was not taken")).catch(() => undefined);
  }

  /** @returns false when it has left, as far as can be seen */
  async give(answer: PullAnswer): Promise<boolean> {
    if (this.#hasLeft) return false;
    const text = JSON.stringify(answer);
    const writer = this.#writer;
    if (writer === null) {
      this.#answer(new Response(text));
      return true;
    }
    try {
      await within(writer.write(utf8.encode(text)), writeLimitMs, () => new Error("the answer was not taken"));
      await within(writer.close(), writeLimitMs, () => new Error("the answer was not taken"));
      return true;
    } catch {
      this.#leave();
      return false;
    }
  }

  /** Where the answer has begun, it ends without a message; the next request gets the refusal. */
  async refuse(refusal: PullRefusal): Promise<void> {
    if (this.#writer === null) this.#answer(Response.json(refusal, { status: 503 }));
    else await this.give({ pulled: null });
  }
}
