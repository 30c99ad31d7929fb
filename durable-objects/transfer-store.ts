/**
 * The Asset object's tables of multipart uploads: those of its runners, and those of consumers that move an object in
 * parts. Synchronous SQL only, grouped with a decision by whoever calls. docs/storage-schema.md describes each table.
 */
import { PartDigest } from "../schemas/checksum.ts";
import { MovedPart } from "../schemas/transfer.ts";

export const transferTables = [
  `CREATE TABLE IF NOT EXISTS transfer (
     upload_id TEXT PRIMARY KEY, quality TEXT NOT NULL, job_id TEXT NOT NULL, key TEXT NOT NULL,
     part_size_bytes INTEGER NOT NULL, opened_at_ms INTEGER NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS transfer_part (
     upload_id TEXT NOT NULL, n INTEGER NOT NULL, size_bytes INTEGER NOT NULL, etag TEXT NOT NULL, md5 TEXT NOT NULL,
     sha256 TEXT NOT NULL, PRIMARY KEY (upload_id, n)) WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS moved_part (
     upload_id TEXT NOT NULL, n INTEGER NOT NULL, size_bytes INTEGER NOT NULL, etag TEXT NOT NULL, md5 TEXT,
     sha256 TEXT, PRIMARY KEY (upload_id, n)) WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS part_hold (
     upload_id TEXT NOT NULL, n INTEGER NOT NULL, holder TEXT NOT NULL, until_ms INTEGER NOT NULL,
     PRIMARY KEY (upload_id, n)) WITHOUT ROWID`,
];

const allParts = { first: 1, last: 10_000 };

export class TransferStore {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  record(transfer: {
    uploadId: string;
    quality: string;
    jobId: string;
    key: string;
    partSizeBytes: number;
    atMs: number;
  }): void {
    this.#sql.exec(
      `INSERT OR IGNORE INTO transfer (upload_id, quality, job_id, key, part_size_bytes, opened_at_ms)
       VALUES (?, ?, ?, ?, ?, ?)`,
      transfer.uploadId,
      transfer.quality,
      transfer.jobId,
      transfer.key,
      transfer.partSizeBytes,
      transfer.atMs,
    );
  }

  has(uploadId: string): boolean {
    return !this.#sql.exec("SELECT 1 FROM transfer WHERE upload_id = ?", uploadId).next().done;
  }

  recordParts(uploadId: string, parts: readonly PartDigest[]): void {
    for (const { n, sizeBytes, etag, md5, sha256 } of parts) {
      this.#sql.exec(
        `INSERT OR REPLACE INTO transfer_part (upload_id, n, size_bytes, etag, md5, sha256) VALUES (?, ?, ?, ?, ?, ?)`,
        uploadId,
        n,
        sizeBytes,
        etag,
        md5,
        sha256,
      );
    }
  }

  parts(uploadId: string, range = allParts): PartDigest[] {
    const rows = this.#sql.exec(
      `SELECT n, size_bytes AS sizeBytes, etag, md5, sha256 FROM transfer_part
         WHERE upload_id = ? AND n BETWEEN ? AND ? ORDER BY n`,
      uploadId,
      range.first,
      range.last,
    );
    return [...rows].map((row) => PartDigest.parse(row));
  }

  /** The part digests of the newest upload of a rendition that has any: what its archived object is made of. */
  partsOfRendition(quality: string, jobId: string, range?: { first: number; last: number }): PartDigest[] {
    const row = this.#sql
      .exec(
        `SELECT upload_id FROM transfer WHERE quality = ? AND job_id = ?
           AND EXISTS (SELECT 1 FROM transfer_part p WHERE p.upload_id = transfer.upload_id)
         ORDER BY opened_at_ms DESC LIMIT 1`,
        quality,
        jobId,
      )
      .next();
    return row.done ? [] : this.parts(String(row.value.upload_id), range);
  }

  /** The parts of an upload that was aborted are of no use any more. */
  drop(uploadId: string): void {
    this.#sql.exec("DELETE FROM transfer_part WHERE upload_id = ?", uploadId);
    this.#sql.exec("DELETE FROM transfer WHERE upload_id = ?", uploadId);
    this.#sql.exec("DELETE FROM moved_part WHERE upload_id = ?", uploadId);
    this.#sql.exec("DELETE FROM part_hold WHERE upload_id = ?", uploadId);
  }

  /** A part that is known stays as it was told first: what lies in the upload is what that teller wrote. */
  recordMoved(uploadId: string, parts: readonly MovedPart[]): void {
    for (const { n, sizeBytes, etag, md5, sha256 } of parts) {
      this.#sql.exec(
        "INSERT OR IGNORE INTO moved_part (upload_id, n, size_bytes, etag, md5, sha256) VALUES (?, ?, ?, ?, ?, ?)",
        uploadId,
        n,
        sizeBytes,
        etag,
        md5,
        sha256,
      );
    }
    this.#sql.exec(
      "DELETE FROM part_hold WHERE upload_id = ? AND n IN (SELECT n FROM moved_part WHERE upload_id = ?)",
      uploadId,
      uploadId,
    );
  }

  moved(uploadId: string): MovedPart[] {
    const rows = this.#sql.exec(
      "SELECT n, size_bytes AS sizeBytes, etag, md5, sha256 FROM moved_part WHERE upload_id = ? ORDER BY n",
      uploadId,
    );
    return [...rows].map((row) => MovedPart.parse(row));
  }

  /** After a completion: digests of bytes that passed through us for the first time stay, as their proof. */
  pruneMoved(openUploadIds: readonly string[]): void {
    const open = JSON.stringify(openUploadIds);
    const ended = "upload_id NOT IN (SELECT value FROM json_each(?))";
    this.#sql.exec(`DELETE FROM moved_part WHERE sha256 IS NULL AND ${ended}`, open);
    this.#sql.exec(`DELETE FROM part_hold WHERE ${ended}`, open);
  }

  /** @returns false when somebody else holds one of the parts; a holder that is silent for too long holds nothing */
  hold(
    uploadId: string,
    parts: readonly number[],
    holder: string,
    { atMs, untilMs }: { atMs: number; untilMs: number },
  ): boolean {
    const list = JSON.stringify(parts);
    const taken = this.#sql.exec(
      `SELECT 1 FROM part_hold
         WHERE upload_id = ? AND n IN (SELECT value FROM json_each(?)) AND holder <> ? AND until_ms > ?`,
      uploadId,
      list,
      holder,
      atMs,
    );
    if (!taken.next().done) return false;
    for (const n of parts) {
      this.#sql.exec(
        "INSERT OR REPLACE INTO part_hold (upload_id, n, holder, until_ms) VALUES (?, ?, ?, ?)",
        uploadId,
        n,
        holder,
        untilMs,
      );
    }
    return true;
  }

  /** Who has reported moves nothing more. */
  releaseHolds(holder: string): void {
    this.#sql.exec("DELETE FROM part_hold WHERE holder = ?", holder);
  }
}
