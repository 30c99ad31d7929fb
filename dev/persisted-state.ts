/**
 * What a stack's worker has on its disk: the objects of the R2 bucket, multipart uploads that nobody ended, and the Asset
 * objects' outboxes and timers. Read-only, from the SQLite files that workerd keeps, so also true of what no API lists.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

export interface Leftovers {
  openEdgeUploads: string[];
  /** Commands that were decided but not sent. */
  outbox: string[];
  /** Deadlines that are still armed. */
  timers: string[];
}

export const nothing: Leftovers = { openEdgeUploads: [], outbox: [], timers: [] };

const lockTimeoutMs = 10_000;

type Row = Record<string, unknown>;

function databases(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".sqlite") && !name.endsWith("metadata.sqlite"))
    .map((name) => join(folder, name));
}

/** Rows of a query over every database of a folder that has the table. */
function query(folder: string, table: string, sql: string): Row[] {
  return databases(folder).flatMap((path) => {
    // workerd writes meanwhile, and recovers a journal after a kill: both lock the file for a moment.
    const database = new DatabaseSync(path, { readOnly: true, timeout: lockTimeoutMs });
    try {
      const has = database.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?").get(table);
      return has === undefined ? [] : (database.prepare(sql).all() as Row[]);
    } finally {
      database.close();
    }
  });
}

/** Every key of the buckets whose files lie below a folder. */
export function keysOf(folder: string): string[] {
  return query(folder, "_mf_objects", "SELECT key FROM _mf_objects ORDER BY key").map(({ key }) => String(key));
}

const inProgress = 0;

/** The key of every multipart upload that was neither completed nor aborted. */
export function openUploadsOf(folder: string): string[] {
  const sql = `SELECT key FROM _mf_multipart_uploads WHERE state = ${inProgress}`;
  return query(folder, "_mf_multipart_uploads", sql).map(({ key }) => String(key));
}

const edge = (dataDirectory: string) => join(dataDirectory, "worker", "r2");
const objects = (dataDirectory: string) => join(dataDirectory, "worker", "do");

/** Every key in the R2 bucket. */
export function edgeKeys(dataDirectory: string): string[] {
  return keysOf(edge(dataDirectory));
}

export function leftovers(dataDirectory: string): Leftovers {
  const ofObjects = (table: string, sql: string) =>
    query(objects(dataDirectory), table, sql).map((row) => Object.values(row).join(" "));
  return {
    openEdgeUploads: openUploadsOf(edge(dataDirectory)),
    outbox: ofObjects("outbox", "SELECT id, type FROM outbox"),
    timers: ofObjects("timer", "SELECT name, event FROM timer"),
  };
}

/** Keys of the open uploads that the worker's database remembers, for its timer to abort: somebody owns those. */
export function notedUploads(dataDirectory: string): string[] {
  const database = join(dataDirectory, "worker", "d1");
  return query(database, "open_uploads", "SELECT key FROM open_uploads").map(({ key }) => String(key));
}

/** How many Asset objects there are: proof that the looks above saw any. */
export function assetObjectCount(dataDirectory: string): number {
  return query(objects(dataDirectory), "asset", "SELECT revision FROM asset").length;
}

/** Of each asset, by its file's id, the secret that proves its commands. @param objectDirectory where the objects are kept */
export function commandSecrets(objectDirectory: string): Map<string, string> {
  const sql = "SELECT document ->> 'fileId' AS file_id, hex FROM asset CROSS JOIN command_secret";
  return new Map(
    query(objectDirectory, "command_secret", sql).map(({ file_id, hex }) => [String(file_id), String(hex)]),
  );
}
