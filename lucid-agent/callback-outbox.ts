/** Sends pending callbacks when they are due, a few at a time, until each is accepted or given up. */
import type { PendingCallback } from "./record.ts";
import { type CallbackPolicy, nextTry, sendWebhook } from "./webhook.ts";

export interface OutboxPorts {
  nowMs(): number;
  random(): number;
  /** Every callback that waits, by its transfer's id. */
  pending(): Iterable<readonly [id: string, pending: PendingCallback]>;
  /** Keeps what comes of a try: null when it is over. */
  keep(id: string, tried: PendingCallback, next: PendingCallback | null, status: number | null): Promise<void>;
}

const parallel = 4;

export class CallbackOutbox {
  readonly #ports: OutboxPorts;
  readonly #key: Buffer;
  readonly #policy: CallbackPolicy;
  readonly #stop = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #draining: Promise<void> | null = null;

  constructor(ports: OutboxPorts, key: Buffer, policy: CallbackPolicy) {
    this.#ports = ports;
    this.#key = key;
    this.#policy = policy;
  }

  /** To be called whenever a callback was added. */
  wake(): void {
    if (this.#stop.signal.aborted || this.#draining !== null) return;
    clearTimeout(this.#timer);
    this.#draining = this.#drain().finally(() => {
      this.#draining = null;
      this.#arm();
    });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await this.#draining;
  }

  async #drain(): Promise<void> {
    for (;;) {
      const nowMs = this.#ports.nowMs();
      const due = [...this.#ports.pending()].filter(([, pending]) => pending.nextAtMs <= nowMs).slice(0, parallel);
      if (due.length === 0 || this.#stop.signal.aborted) return;
      await Promise.all(due.map(([id, pending]) => this.#try(id, pending)));
    }
  }

  async #try(id: string, pending: PendingCallback): Promise<void> {
    const status = await sendWebhook(pending, this.#key, this.#ports.nowMs(), this.#stop.signal);
    // An agent that stops has not learned whether the call arrived: it is made again after the restart.
    if (status === null && this.#stop.signal.aborted) return;
    const next = nextTry(pending, status, this.#policy, this.#ports.nowMs(), this.#ports.random());
    await this.#ports.keep(id, pending, next, status);
  }

  #arm(): void {
    if (this.#stop.signal.aborted) return;
    let nextAtMs = Number.POSITIVE_INFINITY;
    for (const [, pending] of this.#ports.pending()) nextAtMs = Math.min(nextAtMs, pending.nextAtMs);
    if (nextAtMs === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => this.wake(), Math.max(nextAtMs - this.#ports.nowMs(), 1));
  }
}
