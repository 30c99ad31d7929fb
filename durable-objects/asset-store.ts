/**
 * The Asset object's tables, but for those of its uploads, and nothing else: every method is synchronous SQL, so that callers
 * can group them in one transaction. They are made with the asset: until then only `load`, `isSeen` and `nextAtMs` may be
 * called. docs/storage-schema.md describes each table.
 */
import { type HistoryEntry, HistoryEntry as HistoryEntrySchema } from "../schemas/asset.ts";
import { loadAssetState, type StoredAsset } from "../schemas/asset-state.ts";
import { AssetEvent } from "../schemas/event.ts";
import { Evidence } from "../schemas/evidence.ts";
import type { OpVerb } from "./asset-door.ts";
import type { EvidenceChange } from "./evidence.ts";
import type { Timer } from "./machine/timer.ts";
import { TransferStore, transferTables } from "./transfer-store.ts";

const tables = [
  `CREATE TABLE IF NOT EXISTS asset (
     id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, document TEXT NOT NULL)`,
  `CREATE TABLE IF NOT EXISTS seen (key TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS outbox (
     id TEXT PRIMARY KEY, seq INTEGER NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL, op_key TEXT, op INTEGER,
     verb TEXT, attempts INTEGER NOT NULL DEFAULT 0, next_at_ms INTEGER NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS timer (name TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, event TEXT NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS history (
     revision INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, event TEXT NOT NULL, by TEXT NOT NULL, state TEXT NOT NULL,
     detail TEXT NOT NULL)`,
  `CREATE TABLE IF NOT EXISTS op_token (
     key TEXT NOT NULL, holder TEXT NOT NULL, op INTEGER NOT NULL, verb TEXT NOT NULL, until_ms INTEGER NOT NULL,
     PRIMARY KEY (key, holder)) WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS evidence (
     tier TEXT NOT NULL, key TEXT NOT NULL, quality TEXT NOT NULL, job_id TEXT, document TEXT NOT NULL,
     PRIMARY KEY (tier, key)) WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS command_secret (id INTEGER PRIMARY KEY CHECK (id = 1), hex TEXT NOT NULL)`,
];

export interface OutboxRow {
  id: string;
  type: string;
  /** JSON of the command; of PublishCatalogue an empty object, as its document is made when it is sent. */
  body: string;
  opKey: string | null;
  op: number | null;
  verb: OpVerb | null;
  attempts: number;
}

export interface OpToken {
  key: string;
  /** The delivery of a command that claimed it. */
  holder: string;
  op: number;
  verb: OpVerb;
  untilMs: number;
}

export interface DueTimer {
  name: string;
  /** How often it could not be read or decided. */
  rests: number;
  /** @throws for what a newer version stored */
  event(): AssetEvent;
}

export interface Revision {
  state: StoredAsset;
  revision: number;
}

export class AssetStore {
  readonly transfers: TransferStore;
  readonly #sql: SqlStorage;
  #isMade: boolean;
  #present: Revision | null | undefined;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    this.transfers = new TransferStore(sql);
    this.#isMade = this.#hasTables();
    // An object that an earlier build made may lack a table of this one.
    if (this.#isMade) this.#makeTables();
  }

  /** Before the first write. A question about a file that never was must leave no database behind. */
  make(): void {
    if (this.#isMade) return;
    this.#makeTables();
    this.#isMade = true;
  }

  get isMade(): boolean {
    return this.#isMade;
  }

  #hasTables(): boolean {
    return !this.#sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'asset'").next().done;
  }

  #makeTables(): void {
    for (const table of [...tables, ...transferTables]) this.#sql.exec(table);
  }

  /** The stored state; cached, as one object has one writer. Treat it as frozen. */
  load(): Revision | null {
    if (!this.#isMade) return null;
    if (this.#present !== undefined) return this.#present;
    const row = this.#sql.exec<{ revision: number; document: string }>("SELECT revision, document FROM asset").next();
    this.#present = row.done ? null : { state: loadAssetState(row.value.document), revision: row.value.revision };
    return this.#present;
  }

  save(present: Revision): void {
    this.#sql.exec(
      `INSERT INTO asset (id, revision, document) VALUES (1, ?1, ?2)
       ON CONFLICT (id) DO UPDATE SET revision = ?1, document = ?2`,
      present.revision,
      JSON.stringify(present.state),
    );
    this.#present = present;
  }

  /** After a transaction that was rolled back. */
  forget(): void {
    this.#present = undefined;
    this.#isMade = this.#hasTables();
  }

  isSeen(key: string): boolean {
    return this.#isMade && !this.#sql.exec("SELECT 1 FROM seen WHERE key = ?", key).next().done;
  }

  markSeen(key: string, atMs: number): void {
    this.#sql.exec("INSERT OR IGNORE INTO seen (key, at_ms) VALUES (?, ?)", key, atMs);
  }

  pruneSeen(beforeMs: number): void {
    this.#sql.exec("DELETE FROM seen WHERE at_ms < ?", beforeMs);
  }

  appendHistory(entry: HistoryEntry): void {
    this.#sql.exec(
      "INSERT INTO history (revision, at_ms, event, by, state, detail) VALUES (?, ?, ?, ?, ?, ?)",
      entry.revision,
      Date.parse(entry.at),
      entry.event,
      entry.by,
      entry.state,
      JSON.stringify(entry.detail),
    );
  }

  /** Of rounds that may come by the thousand, only the newest are worth keeping. */
  trimHistory(event: string, kept: number): void {
    this.#sql.exec(
      `DELETE FROM history WHERE event = ?1
         AND revision <= (SELECT revision FROM history WHERE event = ?1 ORDER BY revision DESC LIMIT 1 OFFSET ?2)`,
      event,
      kept,
    );
  }

  history(beforeRevision: number | null, limit: number): HistoryEntry[] {
    const rows = this.#sql.exec(
      "SELECT * FROM history WHERE revision < ? ORDER BY revision DESC LIMIT ?",
      beforeRevision ?? Number.MAX_SAFE_INTEGER,
      limit,
    );
    return [...rows].map((row) =>
      HistoryEntrySchema.parse({
        revision: row.revision,
        at: new Date(Number(row.at_ms)).toISOString(),
        event: row.event,
        by: row.by,
        state: row.state,
        detail: JSON.parse(String(row.detail)),
      }),
    );
  }

  /** What is found at a key replaces what was known of it; what is gone leaves no row. */
  noteEvidence(change: EvidenceChange): void {
    if (change.type === "gone") {
      const { tier, quality, jobId } = change;
      this.#sql.exec("DELETE FROM evidence WHERE tier = ? AND quality = ? AND job_id IS ?", tier, quality, jobId);
      return;
    }
    const { tier, key, quality } = change.evidence;
    this.#sql.exec(
      "INSERT OR REPLACE INTO evidence (tier, key, quality, job_id, document) VALUES (?, ?, ?, ?, ?)",
      tier,
      key,
      quality,
      change.jobId,
      JSON.stringify(change.evidence),
    );
  }

  /** In the order in which it was seen last. */
  evidence(): Evidence[] {
    const rows = this.#sql.exec("SELECT document FROM evidence");
    const copies = [...rows].map(({ document }) => Evidence.parse(JSON.parse(String(document))));
    return copies.sort((a, b) => Date.parse(a.verifiedAt) - Date.parse(b.verifiedAt));
  }

  /** But for those that rest: this code may not know what they are for. */
  replaceTimers(timers: Timer[]): void {
    this.#sql.exec("DELETE FROM timer WHERE name NOT GLOB 'resting:*'");
    for (const { name, atMs, event } of timers) {
      this.#sql.exec("INSERT INTO timer (name, at_ms, event) VALUES (?, ?, ?)", name, atMs, JSON.stringify(event));
    }
  }

  dueTimers(atMs: number): DueTimer[] {
    const rows = this.#sql.exec("SELECT name, event FROM timer WHERE at_ms <= ? ORDER BY at_ms", atMs);
    return [...rows].map((row) => {
      const name = String(row.name);
      const rests = Number(/^resting:(\d+):/.exec(name)?.[1] ?? 0);
      return { name, rests, event: () => AssetEvent.parse(JSON.parse(String(row.event))) };
    });
  }

  /** One that is still due: another's event may have set it again. */
  postponeTimer(name: string, atMs: number, untilMs: number): void {
    this.#sql.exec("UPDATE timer SET at_ms = ? WHERE name = ? AND at_ms <= ?", untilMs, name, atMs);
  }

  restTimer({ name, rests }: DueTimer, untilMs: number): void {
    const resting = `resting:${rests + 1}:${name.replace(/^resting:\d+:/, "")}`;
    this.#sql.exec("UPDATE OR REPLACE timer SET name = ?, at_ms = ? WHERE name = ?", resting, untilMs, name);
  }

  dropTimer(name: string): void {
    this.#sql.exec("DELETE FROM timer WHERE name = ?", name);
  }

  /** A row of this id that still waits stays as it is. */
  enqueue(row: Omit<OutboxRow, "attempts">, seq: number, atMs: number): void {
    this.#sql.exec(
      "INSERT OR IGNORE INTO outbox (id, seq, type, body, op_key, op, verb, next_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      row.id,
      seq,
      row.type,
      row.body,
      row.opKey,
      row.op,
      row.verb,
      atMs,
    );
  }

  /** Only the newest catalogue document matters: rows not sent yet are dropped for it. */
  dropUnsent(type: "PublishCatalogue"): void {
    this.#sql.exec("DELETE FROM outbox WHERE type = ?", type);
  }

  /** The secret that proves this object's commands; null before its first one. */
  commandSecret(): string | null {
    const row = this.#sql.exec<{ hex: string }>("SELECT hex FROM command_secret").next();
    return row.done ? null : row.value.hex;
  }

  keepCommandSecret(hex: string): void {
    this.#sql.exec("INSERT INTO command_secret (id, hex) VALUES (1, ?)", hex);
  }

  dueOutbox(atMs: number, limit: number): OutboxRow[] {
    const rows = this.#sql.exec("SELECT * FROM outbox WHERE next_at_ms <= ? ORDER BY seq, id LIMIT ?", atMs, limit);
    return [...rows].map((row) => ({
      id: String(row.id),
      type: String(row.type),
      body: String(row.body),
      opKey: row.op_key === null ? null : String(row.op_key),
      op: row.op === null ? null : Number(row.op),
      verb: row.verb as OpVerb | null,
      attempts: Number(row.attempts),
    }));
  }

  sent(id: string): void {
    this.#sql.exec("DELETE FROM outbox WHERE id = ?", id);
  }

  postpone(id: string, attempts: number, untilMs: number): void {
    this.#sql.exec("UPDATE outbox SET attempts = ?, next_at_ms = ? WHERE id = ?", attempts, untilMs, id);
  }

  /** Rows that waited for an operation on this key may go now. */
  releaseOutbox(opKey: string, atMs: number): void {
    this.#sql.exec("UPDATE outbox SET next_at_ms = ? WHERE op_key = ? AND next_at_ms > ?", atMs, opKey, atMs);
  }

  /** The next moment at which a timer or an outbox row wants attention. */
  nextAtMs(): number | null {
    if (!this.#isMade) return null;
    const row = this.#sql
      .exec<{ at_ms: number | null }>(
        "SELECT min(at_ms) AS at_ms FROM (SELECT at_ms FROM timer UNION ALL SELECT next_at_ms FROM outbox)",
      )
      .one();
    return row.at_ms;
  }

  /** Who may act on a key at this moment. */
  opTokens(key: string, atMs: number): OpToken[] {
    const rows = this.#sql.exec("SELECT * FROM op_token WHERE key = ? AND until_ms > ?", key, atMs);
    return [...rows].map((row) => ({
      key,
      holder: String(row.holder),
      op: Number(row.op),
      verb: row.verb as OpVerb,
      untilMs: Number(row.until_ms),
    }));
  }

  grantOpToken(token: OpToken): void {
    this.#sql.exec(
      "INSERT OR REPLACE INTO op_token (key, holder, op, verb, until_ms) VALUES (?, ?, ?, ?, ?)",
      token.key,
      token.holder,
      token.op,
      token.verb,
      token.untilMs,
    );
  }

  /** Also forgets tokens that have ended. @returns the keys that this holder gives up */
  releaseOpTokens(holder: string, atMs: number): string[] {
    const keys = [...this.#sql.exec("SELECT key FROM op_token WHERE holder = ?", holder)];
    this.#sql.exec("DELETE FROM op_token WHERE holder = ? OR until_ms <= ?", holder, atMs);
    return keys.map(({ key }) => String(key));
  }
}
