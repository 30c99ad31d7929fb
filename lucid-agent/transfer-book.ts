/** The transfers known, in memory and in the journal: at most one for each key. */
import { type Transfer, type TransferPage, type TransferQuery, TransferStatus } from "../schemas/agent-protocol.ts";
import type { Journal } from "./journal.ts";
import type { PendingCallback, TransferRecord, TransferWork } from "./record.ts";
import { transferOf } from "./record.ts";

export class TransferBook {
  readonly #journal: Journal;
  /** Bytes written so far by a copy under way, or null when none is. */
  readonly #progressOf: (id: string) => number | null;
  readonly #records = new Map<string, TransferRecord>();
  readonly #idOfKey = new Map<string, string>();

  constructor(journal: Journal, progressOf: (id: string) => number | null) {
    this.#journal = journal;
    this.#progressOf = progressOf;
  }

  /** @returns the records in the order of their last change */
  async load(onUnreadable: (file: string) => void): Promise<TransferRecord[]> {
    const loaded = await this.#journal.load(onUnreadable);
    loaded.sort((a, b) => a.updatedAtMs - b.updatedAtMs);
    for (const record of loaded) this.set(record);
    return loaded;
  }

  get(id: string): TransferRecord | null {
    return this.#records.get(id) ?? null;
  }

  ofKey(key: string): TransferRecord | null {
    return this.get(this.#idOfKey.get(key) ?? "");
  }

  all(): Iterable<TransferRecord> {
    return this.#records.values();
  }

  /** Takes a record for this process alone: a restart comes to it again by itself. */
  set(record: TransferRecord): void {
    this.#records.set(record.id, record);
    this.#idOfKey.set(record.key, record.id);
  }

  /** Keeps a transfer that is to be carried out; nothing changes when the journal cannot be written. */
  async keepActive(record: TransferRecord, work: TransferWork): Promise<void> {
    await this.#journal.save(record, work);
    this.set(record);
  }

  /** Keeps an ended one: it has ended also where the journal cannot be written. */
  async keepEnded(record: TransferRecord): Promise<void> {
    this.set(record);
    await this.#journal.save(record, null);
  }

  async forget(record: TransferRecord): Promise<void> {
    this.#records.delete(record.id);
    if (this.#idOfKey.get(record.key) === record.id) this.#idOfKey.delete(record.key);
    await this.#journal.forget(record.id);
  }

  work(id: string): Promise<TransferWork | null> {
    return this.#journal.work(id);
  }

  *pending(): Generator<readonly [id: string, pending: PendingCallback]> {
    for (const [id, record] of this.#records) {
      if (record.pending !== null) yield [id, record.pending];
    }
  }

  view(record: TransferRecord): Transfer {
    const bytesWritten = record.status === "queued" ? this.#progressOf(record.id) : null;
    return transferOf(bytesWritten === null ? record : { ...record, status: "copying", bytesWritten });
  }

  page({ status, cursor, limit }: TransferQuery): TransferPage {
    const found = [...this.#records.values()]
      .filter((record) => cursor === undefined || record.id > cursor)
      .map((record) => this.view(record))
      .filter((transfer) => status === undefined || transfer.status === status)
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    const transfers = found.slice(0, limit);
    return { transfers, cursor: found.length > limit ? (transfers.at(-1)?.id ?? null) : null };
  }

  counts(): Record<TransferStatus, number> {
    const counts = Object.fromEntries(TransferStatus.options.map((status) => [status, 0])) as Record<
      TransferStatus,
      number
    >;
    for (const record of this.#records.values()) counts[this.view(record).status] += 1;
    return counts;
  }
}
