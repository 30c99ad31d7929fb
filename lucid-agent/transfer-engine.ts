/**
 * Carries out transfers: at most one for each key, a few at a time, each resumed after a restart, superseded by newer
 * operations, and ended with a callback. The records are the truth in memory; the journal is the truth on disk.
 */
import type { Logger } from "pino";
import type {
  AgentHealth,
  PlaceRequest,
  RemoveRequest,
  RemoveResult,
  Transfer,
  TransferPage,
  TransferQuery,
} from "../schemas/agent-protocol.ts";
import { CallbackOutbox } from "./callback-outbox.ts";
import type { CopySettings } from "./copy.ts";
import type { DurabilityProbe } from "./durability.ts";
import { type AgentFailure, asAgentFailure, problemOf, withinDeadline } from "./failure.ts";
import { removeFile, sweepTemporaries } from "./file-store.ts";
import type { Journal } from "./journal.ts";
import { KeyLock } from "./key-lock.ts";
import { place, removeTemporary, requirePlaceable, sizeAt } from "./placement.ts";
import { Refusal } from "./problem.ts";
import {
  decidePut,
  ended,
  isActive,
  type PendingCallback,
  recordOf,
  type TransferRecord,
  type TransferWork,
  temporaryPath,
} from "./record.ts";
import { Settlement } from "./settlement.ts";
import { TransferBook } from "./transfer-book.ts";
import type { TreeSettings } from "./tree.ts";
import type { CallbackPolicy } from "./webhook.ts";

export interface EngineSettings {
  tree: TreeSettings;
  copy: CopySettings;
  callback: CallbackPolicy;
  callbackKey: Buffer;
  concurrency: number;
  maxActive: number;
  probeIntervalMs: number;
  durableTimeoutMs: number;
  /** How long an ended transfer is remembered, and how long a failed one's temporary file is kept to go on from. */
  keepEndedMs: number;
  keepTemporaryMs: number;
  pruneIntervalMs: number;
  fileSystemTimeoutMs: number;
}

export interface EnginePorts {
  journal: Journal;
  probe: DurabilityProbe;
  log: Logger;
  nowMs(): number;
  random(): number;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

interface Run {
  controller: AbortController;
  /** A fresher source than the journal's when the run began. */
  source: TransferWork["source"] | null;
  bytesWritten: number;
  /** Settles, never throwing, when the run touches the tree no more. */
  finished: Promise<void>;
}

/** After these, the bytes that have landed are worth nothing, or stand in the way. */
const discards: ReadonlySet<string> = new Set([
  "LUCIDLINK_FULL",
  "SIZE_MISMATCH",
  "CHECKSUM_MISMATCH",
  "ETAG_MISMATCH",
]);

export class TransferEngine {
  readonly #settings: EngineSettings;
  readonly #ports: EnginePorts;
  readonly #lock = new KeyLock();
  readonly #book: TransferBook;
  readonly #runs = new Map<string, Run>();
  readonly #queue = new Set<string>();
  readonly #outbox: CallbackOutbox;
  readonly #settlement: Settlement;
  #pruneTimer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(settings: EngineSettings, ports: EnginePorts) {
    this.#settings = settings;
    this.#ports = ports;
    this.#book = new TransferBook(ports.journal, (id) => this.#runs.get(id)?.bytesWritten ?? null);
    const { nowMs, random, sleep, probe, log } = ports;
    this.#outbox = new CallbackOutbox(
      { nowMs, random, pending: () => this.#book.pending(), keep: (...tried) => this.#keepCallback(...tried) },
      settings.callbackKey,
      settings.callback,
    );
    this.#settlement = new Settlement(
      {
        probe,
        nowMs,
        sleep,
        settled: (id, failure) => this.#settled(id, failure),
        probeFailed: (failure) => log.warn({ code: failure.code }, failure.message),
      },
      settings.probeIntervalMs,
      settings.durableTimeoutMs,
    );
  }

  /** Takes up what the journal holds. */
  async start(): Promise<void> {
    const { log } = this.#ports;
    const loaded = await this.#book.load((file) => log.error({ file }, "a journal entry cannot be read: set aside"));
    for (const record of loaded) {
      // Also what was written and not yet durable: placing it again only verifies it.
      if (!isActive(record)) continue;
      this.#book.set({ ...record, status: "queued", bytesWritten: 0 });
      this.#queue.add(record.id);
    }
    await this.#sweep();
    this.#pruneTimer = setInterval(() => void this.#prune(), this.#settings.pruneIntervalMs);
    this.#pump();
    this.#outbox.wake();
  }

  /** Stops at once and cleanly: what is under way goes on after the next start. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#pruneTimer);
    for (const run of this.#runs.values()) run.controller.abort();
    await Promise.all([...this.#runs.values()].map((run) => run.finished));
    await Promise.all([this.#settlement.stop(), this.#outbox.stop()]);
    await this.#lock.idle();
  }

  get(id: string): Transfer | null {
    const record = this.#book.get(id);
    return record === null ? null : this.#book.view(record);
  }

  list(query: TransferQuery): TransferPage {
    return this.#book.page(query);
  }

  counts(): Pick<AgentHealth, "transfers" | "pendingCallbacks"> {
    return { transfers: this.#book.counts(), pendingCallbacks: [...this.#book.pending()].length };
  }

  /**
   * @returns the transfer, and whether this call set it going
   * @throws Refusal CONFLICT, UNAVAILABLE; AgentFailure when the tree cannot take the file now
   */
  put(id: string, request: PlaceRequest): Promise<{ transfer: Transfer; started: boolean }> {
    return this.#lock.run(request.key, () => this.#put(id, request));
  }

  async #put(id: string, request: PlaceRequest): Promise<{ transfer: Transfer; started: boolean }> {
    const asked = recordOf(id, request, this.#ports.nowMs());
    const work: TransferWork = { source: request.source, sha256: request.sha256 };
    const known = this.#book.get(id);
    const holder = this.#book.ofKey(request.key);
    const present = known?.status === "durable" && (await this.#sizeAt(known.key)) === known.sizeBytes;
    const decision = decidePut(asked, known, holder, present);
    if (decision.kind === "conflict") throw new Refusal("CONFLICT", decision.detail);
    if (known !== null && decision.kind === "answer") return { transfer: this.#book.view(known), started: false };
    if (known !== null && decision.kind === "refresh") {
      const refreshed = { ...known, callback: asked.callback, request: asked.request };
      const run = this.#runs.get(id);
      if (run !== undefined) run.source = work.source;
      await this.#book.keepActive(refreshed, work);
      return { transfer: this.#book.view(refreshed), started: false };
    }
    const { tree, maxActive, fileSystemTimeoutMs } = this.#settings;
    if (this.#runs.size + this.#queue.size >= maxActive) throw new Refusal("UNAVAILABLE", "The queue is full.");
    await withinDeadline(requirePlaceable(request.key, request, tree), fileSystemTimeoutMs);
    if (holder !== null && holder.id !== id) await this.#drop(holder, holder.sha256 !== asked.sha256);
    const record = known === null ? asked : { ...asked, callbacks: known.callbacks };
    await this.#book.keepActive(record, work);
    this.#queue.add(id);
    this.#pump();
    this.#ports.log.info({ transferId: id, key: record.key, sizeBytes: record.sizeBytes }, "transfer accepted");
    return { transfer: this.#book.view(record), started: true };
  }

  /** Stops a transfer and forgets it; a file already in place stays. Unknown ids are fine. */
  async cancel(id: string): Promise<void> {
    const key = this.#book.get(id)?.key;
    if (key === undefined) return;
    await this.#lock.run(key, async () => {
      const record = this.#book.get(id);
      if (record !== null) await this.#drop(record, true);
    });
  }

  /** Stops what is being placed at the key, then removes the file. @throws Refusal CONFLICT when `op` is outdated. */
  remove(request: RemoveRequest): Promise<RemoveResult> {
    return this.#lock.run(request.key, async () => {
      const holder = this.#book.ofKey(request.key);
      if (holder !== null && request.op !== undefined && holder.callback.op > request.op) {
        throw new Refusal("CONFLICT", `A newer operation (${holder.callback.op}) holds this key.`);
      }
      if (holder !== null) await this.#drop(holder, true);
      const { tree, fileSystemTimeoutMs } = this.#settings;
      const result = await withinDeadline(removeFile(request, tree, this.#ports.nowMs()), fileSystemTimeoutMs);
      if (result.removed) this.#ports.log.info({ ...result }, "file removed");
      return result;
    });
  }

  #pump(): void {
    for (const id of this.#queue) {
      if (this.#stopped || this.#runs.size >= this.#settings.concurrency) return;
      this.#queue.delete(id);
      const run: Run = {
        controller: new AbortController(),
        source: null,
        bytesWritten: 0,
        finished: Promise.resolve(),
      };
      this.#runs.set(id, run);
      const outcome = this.#copy(id, run);
      run.finished = outcome.then(() => {
        this.#runs.delete(id);
      });
      void this.#conclude(id, run, outcome);
    }
  }

  /** @returns why it failed, or null. Never throws. */
  async #copy(id: string, run: Run): Promise<AgentFailure | null> {
    try {
      const record = this.#book.get(id);
      const work = await this.#book.work(id);
      if (record === null || work === null) throw new Error("the journal lacks the transfer's work");
      const { sizeBytes, key } = record;
      const source = () => run.source ?? work.source;
      await place(
        key,
        {
          sizeBytes,
          sha256: work.sha256,
          get source() {
            return source();
          },
        },
        this.#settings.tree,
        this.#settings.copy,
        {
          sleep: this.#ports.sleep,
          random: this.#ports.random,
          plannedBytes: () => this.#plannedBytes(id),
          onProgress: (bytesWritten) => {
            run.bytesWritten = bytesWritten;
          },
        },
        run.controller.signal,
      );
      return null;
    } catch (error) {
      const failure = asAgentFailure(error);
      if (!run.controller.signal.aborted && failure !== error) {
        this.#ports.log.warn({ transferId: id, err: error }, "the placement met an unforeseen error");
      }
      return failure;
    }
  }

  /** What the other copies under way have yet to write. */
  #plannedBytes(exceptId: string): number {
    let bytes = 0;
    for (const [id, run] of this.#runs) {
      if (id !== exceptId) bytes += (this.#book.get(id)?.sizeBytes ?? 0) - run.bytesWritten;
    }
    return bytes;
  }

  async #conclude(id: string, run: Run, outcome: Promise<AgentFailure | null>): Promise<void> {
    const failure = await outcome;
    await run.finished;
    const key = this.#book.get(id)?.key;
    if (key === undefined || run.controller.signal.aborted) return;
    await this.#lock.run(key, async () => {
      const record = this.#book.get(id);
      if (record === null || run.controller.signal.aborted) return;
      const { bytesWritten } = run;
      if (failure === null) {
        // The journal keeps the work until the end: a restart verifies the file by placing it again.
        this.#book.set({ ...record, status: "uploading", bytesWritten, updatedAtMs: this.#ports.nowMs() });
        this.#settlement.add(id);
      } else {
        if (discards.has(failure.code)) await this.#discardTemporary(record);
        await this.#end({ ...record, bytesWritten }, failure);
      }
    });
    this.#pump();
  }

  async #settled(id: string, failure: AgentFailure | null): Promise<void> {
    const key = this.#book.get(id)?.key;
    if (key === undefined) return;
    await this.#lock.run(key, async () => {
      const record = this.#book.get(id);
      if (record?.status === "uploading") await this.#end(record, failure);
    });
  }

  async #end(record: TransferRecord, failure: AgentFailure | null): Promise<void> {
    const last = ended(record, failure === null ? null : problemOf(failure), this.#ports.nowMs());
    await this.#keepEnded(last);
    const { id, key, sizeBytes, problem } = last;
    const facts = { transferId: id, key, sizeBytes };
    if (problem === null) this.#ports.log.info(facts, "transfer durable");
    else this.#ports.log.warn({ ...facts, code: problem.code, problem: problem.message }, "transfer failed");
    this.#outbox.wake();
  }

  /** Should the state directory be full, the transfer still ends and the worker still learns of it. */
  async #keepEnded(record: TransferRecord): Promise<void> {
    await this.#book.keepEnded(record).catch((error: unknown) => {
      this.#ports.log.error({ transferId: record.id, err: error }, "the journal could not be written");
    });
  }

  /** Forgets a transfer, stopping it first. The caller holds the key's lock. */
  async #drop(record: TransferRecord, discardTemporary: boolean): Promise<void> {
    const run = this.#runs.get(record.id);
    run?.controller.abort();
    await run?.finished;
    this.#queue.delete(record.id);
    this.#settlement.forget(record.id);
    await this.#book.forget(record);
    if (discardTemporary) await this.#discardTemporary(record);
    this.#pump();
  }

  async #discardTemporary(record: TransferRecord): Promise<void> {
    const { tree, fileSystemTimeoutMs } = this.#settings;
    await withinDeadline(removeTemporary(record.key, record.sha256, tree), fileSystemTimeoutMs).catch(
      (error: unknown) => {
        const { code } = asAgentFailure(error);
        this.#ports.log.warn({ transferId: record.id, code }, "a temporary file stays until the next start");
      },
    );
  }

  #sizeAt(key: string): Promise<number | null> {
    return withinDeadline(sizeAt(key, this.#settings.tree), this.#settings.fileSystemTimeoutMs);
  }

  async #keepCallback(
    id: string,
    tried: PendingCallback,
    next: PendingCallback | null,
    status: number | null,
  ): Promise<void> {
    const facts = { transferId: id, webhookId: tried.id, status, tries: tried.tries + 1 };
    if (next !== null) this.#ports.log.warn(facts, "callback not accepted; it is tried again");
    else if (status !== null && status < 300) this.#ports.log.info(facts, "callback accepted");
    else this.#ports.log.error(facts, "callback given up");
    const key = this.#book.get(id)?.key;
    if (key === undefined) return;
    await this.#lock.run(key, async () => {
      const record = this.#book.get(id);
      if (record?.pending?.id === tried.id) await this.#keepEnded({ ...record, pending: next });
    });
  }

  async #sweep(): Promise<void> {
    const { tree, keepTemporaryMs, fileSystemTimeoutMs } = this.#settings;
    const oldestMs = this.#ports.nowMs() - keepTemporaryMs;
    const isWanted = (path: string) =>
      [...this.#book.all()].some(
        (record) => record.status !== "durable" && record.updatedAtMs >= oldestMs && temporaryPath(record) === path,
      );
    try {
      const removed = await withinDeadline(sweepTemporaries(tree, isWanted), fileSystemTimeoutMs);
      if (removed > 0) this.#ports.log.info({ removed }, "abandoned temporary files removed");
    } catch (error) {
      this.#ports.log.warn({ code: asAgentFailure(error).code }, "the tree could not be swept");
    }
  }

  async #prune(): Promise<void> {
    const oldestMs = this.#ports.nowMs() - this.#settings.keepEndedMs;
    for (const record of this.#book.all()) {
      if (isActive(record) || record.pending !== null || record.updatedAtMs >= oldestMs) continue;
      const forgotten = this.#lock.run(record.key, async () => {
        if (this.#book.get(record.id) === record) await this.#drop(record, true);
      });
      await forgotten.catch((error: unknown) => this.#ports.log.error({ err: error }, "the journal cannot be pruned"));
    }
  }
}
