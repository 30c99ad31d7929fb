/** Waits for written files to become durable: one probe for all of them, repeated while any is open. */

import type { DurabilityProbe } from "./durability.ts";
import { AgentFailure, asAgentFailure } from "./failure.ts";

export interface SettlementPorts {
  probe: DurabilityProbe;
  nowMs(): number;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** The file is durable, or the wait is over. */
  settled(id: string, failure: AgentFailure | null): Promise<void>;
  probeFailed(failure: AgentFailure): void;
}

export class Settlement {
  readonly #ports: SettlementPorts;
  readonly #intervalMs: number;
  readonly #timeoutMs: number;
  readonly #since = new Map<string, number>();
  readonly #stop = new AbortController();
  #loop: Promise<void> | null = null;

  constructor(ports: SettlementPorts, intervalMs: number, timeoutMs: number) {
    this.#ports = ports;
    this.#intervalMs = intervalMs;
    this.#timeoutMs = timeoutMs;
  }

  add(id: string): void {
    if (this.#stop.signal.aborted) return;
    this.#since.set(id, this.#ports.nowMs());
    this.#loop ??= this.#run();
  }

  forget(id: string): void {
    this.#since.delete(id);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (this.#since.size > 0 && !this.#stop.signal.aborted) {
      // The probe speaks only for what was written before it began.
      const asked = [...this.#since];
      const durable = await this.#probe();
      for (const [id, sinceMs] of asked) {
        const overdue = this.#ports.nowMs() - sinceMs > this.#timeoutMs;
        if (this.#since.get(id) !== sinceMs || (!durable && !overdue)) continue;
        this.#since.delete(id);
        const failure = new AgentFailure("LUCIDLINK_UNAVAILABLE", "LucidLink did not finish uploading in time.");
        await this.#ports.settled(id, durable ? null : failure);
      }
      if (!durable) await this.#ports.sleep(this.#intervalMs, this.#stop.signal).catch(() => undefined);
    }
    this.#loop = null;
  }

  async #probe(): Promise<boolean> {
    try {
      return await this.#ports.probe.allDurable(this.#stop.signal);
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#ports.probeFailed(asAgentFailure(error));
      return false;
    }
  }
}
