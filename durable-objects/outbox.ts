/**
 * Sends what transitions asked for. A row is deleted only after its send succeeded; one that fails waits its own backoff,
 * one whose key is held by another operation waits for that to report or to end.
 */
import type { Asset } from "../schemas/asset.ts";
import { Command } from "../schemas/command.ts";
import type { AssetStore, OutboxRow } from "./asset-store.ts";
import { prove } from "./command-proof.ts";
import { backoffMs } from "./machine/step-clock.ts";
import { excludes } from "./operation.ts";
import { restBackoff } from "./timer-run.ts";

const rowsAtOnce = 50;
const sendBackoff = { baseMs: 500, maxMs: 60_000 };

export interface OutboxPorts {
  store: AssetStore;
  fileId(): string;
  view(): Asset | null;
  send(command: Command & { mac: string }): Promise<void>;
  nowMs(): number;
  random(): number;
  /** Hex. */
  newSecret(): string;
  onFault(fault: unknown, row: OutboxRow): void;
}

export class Outbox {
  readonly #ports: OutboxPorts;
  #draining: Promise<void> | null = null;
  #again = false;

  constructor(ports: OutboxPorts) {
    this.#ports = ports;
  }

  /** Sends what is due. One drain runs at a time; a call during one makes it look once more. */
  drain(): Promise<void> {
    this.#again = true;
    this.#draining ??= this.#run().finally(() => {
      this.#draining = null;
    });
    return this.#draining;
  }

  async #run(): Promise<void> {
    const { store, nowMs } = this.#ports;
    while (this.#again) {
      this.#again = false;
      const rows = store.dueOutbox(nowMs(), rowsAtOnce);
      await Promise.all(rows.map((row) => this.#sendRow(row)));
      if (rows.length === rowsAtOnce) this.#again = true;
    }
  }

  async #sendRow(row: OutboxRow): Promise<void> {
    const { store, nowMs } = this.#ports;
    const untilMs = this.#heldUntilMs(row);
    if (untilMs !== null) {
      store.postpone(row.id, row.attempts, untilMs);
      return;
    }
    let command: Command | null = null;
    try {
      command = this.#command(row);
      await this.#ports.send(await prove(command, this.#secret()));
      store.sent(row.id);
    } catch (fault) {
      const attempts = row.attempts + 1;
      // What cannot be read is a newer version's: it goes when that is back.
      const backoff = command === null ? restBackoff : sendBackoff;
      store.postpone(row.id, attempts, nowMs() + backoffMs(backoff, attempts, this.#ports.random()));
      this.#ports.onFault(fault, row);
    }
  }

  #secret(): string {
    const { store, newSecret } = this.#ports;
    const known = store.commandSecret();
    if (known !== null) return known;
    const made = newSecret();
    store.keepCommandSecret(made);
    return made;
  }

  #heldUntilMs(row: OutboxRow): number | null {
    const { opKey, op, verb } = row;
    if (opKey === null || op === null || verb === null) return null;
    const held = this.#ports.store
      .opTokens(opKey, this.#ports.nowMs())
      .filter((token) => excludes(token, { op, verb }));
    return held.length === 0 ? null : Math.max(...held.map(({ untilMs }) => untilMs));
  }

  #command(row: OutboxRow): Command {
    const body: Record<string, unknown> = JSON.parse(row.body);
    const address = { type: row.type, id: row.id, fileId: this.#ports.fileId() };
    // The catalogue wants the present, however long the row has waited.
    const document = row.type === "PublishCatalogue" ? { asset: this.#ports.view() } : {};
    return Command.parse({ ...body, ...document, ...address });
  }
}
