/** The catalogue's assets in D1: written from the object's documents, never regressing, and listed by pages. */
import { z } from "zod";
import type { AssetQuery } from "../../schemas/api.ts";
import { type Asset, AssetSummary } from "../../schemas/asset.ts";
import { codeOf } from "../../schemas/failure-policy.ts";
import { within } from "./deadline.ts";
import { StoreFailure } from "./store-failure.ts";

const timeoutMs = 30_000;

/** @throws StoreFailure UNAVAILABLE when D1 does not answer in time */
export function answered<T>(work: Promise<T>): Promise<T> {
  return within(
    work,
    timeoutMs,
    () => new StoreFailure(codeOf("silence", "D1"), "The catalogue did not answer in time."),
  );
}

/** A file's client and project never change, so their index is left alone. */
const upsertAsset = `
INSERT INTO assets (file_id, client_name, project_name, file_name, search, size_bytes, state, revision, problem_code,
  percent, job_id, created_at, updated_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
ON CONFLICT (file_id) DO UPDATE SET file_name = ?4, search = ?5, size_bytes = ?6, state = ?7,
  revision = ?8, problem_code = ?9, percent = ?10, job_id = ?11, created_at = ?12, updated_at = ?13
WHERE excluded.revision > assets.revision`;

/**
 * Written only while the row above is of this very revision, so that a late document changes nothing. Whose it is is written
 * again, too: a build that did not know of it left it empty.
 */
const upsertCopies = `
INSERT INTO copies (file_id, tier, quality, job_id, key, status, size_bytes, placed_at, verified_at, idle_since,
  pinned_until, problem_code, revision, client_name, project_name)
SELECT ?1, value ->> 'tier', value ->> 'quality', value ->> 'jobId', value ->> 'key', value ->> 'status',
  value ->> 'sizeBytes', value ->> 'placedAt', value ->> 'verifiedAt', value ->> 'idleSince', value ->> 'pinnedUntil',
  value ->> 'problemCode', ?2, ?4, ?5
FROM json_each(?3) WHERE (SELECT revision FROM assets WHERE file_id = ?1) = ?2
ON CONFLICT (file_id, tier, quality) DO UPDATE SET job_id = excluded.job_id, key = excluded.key,
  status = excluded.status, size_bytes = excluded.size_bytes, placed_at = excluded.placed_at,
  verified_at = excluded.verified_at, idle_since = excluded.idle_since, pinned_until = excluded.pinned_until,
  problem_code = excluded.problem_code, revision = excluded.revision, client_name = excluded.client_name,
  project_name = excluded.project_name`;

const dropOldCopies = `
DELETE FROM copies WHERE file_id = ?1 AND revision < ?2 AND (SELECT revision FROM assets WHERE file_id = ?1) = ?2`;

/** One transaction. An older or equal revision changes nothing. */
export async function publishAsset(database: D1Database, asset: Asset): Promise<void> {
  const { fileId, revision } = asset;
  await answered(
    database.batch([
      database
        .prepare(upsertAsset)
        .bind(
          fileId,
          asset.clientName,
          asset.projectName,
          asset.fileName,
          searchable(`${asset.fileName} ${fileId}`),
          asset.sizeBytes,
          asset.state,
          revision,
          asset.problem?.code ?? null,
          asset.progress?.percent ?? null,
          asset.jobId,
          asset.createdAt,
          asset.updatedAt,
        ),
      database
        .prepare(upsertCopies)
        .bind(fileId, revision, JSON.stringify(copyRows(asset)), asset.clientName, asset.projectName),
      database.prepare(dropOldCopies).bind(fileId, revision),
    ]),
  );
}

const searchable = (text: string) => text.normalize("NFC").toLowerCase();

/** ISO 8601 text sorts as time does. */
function latest(placedAt: string | null, lastAccessAt: string | null): string | null {
  return lastAccessAt !== null && lastAccessAt > (placedAt ?? "") ? lastAccessAt : placedAt;
}

function copyRows({ original, renditions }: Asset) {
  const rows = renditions.flatMap((rendition) =>
    rendition.copies.map((copy) => ({
      tier: copy.tier,
      quality: rendition.quality as string,
      jobId: rendition.jobId as string | null,
      key: copy.key,
      status: copy.status as string,
      sizeBytes: rendition.sizeBytes,
      placedAt: copy.placedAt,
      verifiedAt: copy.verifiedAt,
      idleSince: latest(copy.placedAt, copy.lastAccessAt),
      pinnedUntil: copy.pinnedUntil,
      problemCode: copy.problem?.code ?? null,
    })),
  );
  if (original === null) return rows;
  const { tier, key, sizeBytes, verifiedAt } = original;
  const placement = { placedAt: verifiedAt, verifiedAt, idleSince: null, pinnedUntil: null, problemCode: null };
  return [{ tier, quality: "original", jobId: null, key, status: "placed", sizeBytes, ...placement }, ...rows];
}

const SummaryRow = z
  .object({
    file_id: z.unknown(),
    client_name: z.unknown(),
    project_name: z.unknown(),
    file_name: z.unknown(),
    size_bytes: z.unknown(),
    state: z.unknown(),
    revision: z.unknown(),
    problem_code: z.unknown(),
    percent: z.unknown(),
    updated_at: z.unknown(),
  })
  .transform((row) => ({
    fileId: row.file_id,
    clientName: row.client_name,
    projectName: row.project_name,
    fileName: row.file_name,
    sizeBytes: row.size_bytes,
    state: row.state,
    revision: row.revision,
    problemCode: row.problem_code,
    percent: row.percent,
    updatedAt: row.updated_at,
  }))
  .pipe(AssetSummary);

const Cursor = z.tuple([z.iso.datetime(), z.string().max(64)]);

function cursorOf(last: AssetSummary): string {
  return btoa(JSON.stringify([last.updatedAt, last.fileId]))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

/** @throws StoreFailure BAD_REQUEST when it is not one that was handed out */
function readCursor(cursor: string): z.infer<typeof Cursor> {
  try {
    return Cursor.parse(JSON.parse(atob(cursor.replaceAll("-", "+").replaceAll("_", "/"))));
  } catch {
    throw new StoreFailure("BAD_REQUEST", "The cursor is not one that was handed out.");
  }
}

/**
 * Newest change first. An asset that changes while someone pages moves to the front: it may be seen twice, never missed
 * for good.
 * @param clients names, or ["*"] for all
 */
export async function listAssets(
  database: D1Database,
  clients: readonly string[],
  query: AssetQuery,
): Promise<{ assets: AssetSummary[]; cursor: string | null }> {
  const where: string[] = [];
  const values: (string | number)[] = [];
  const narrow = (condition: string, ...bound: string[]) => {
    where.push(condition);
    values.push(...bound);
  };
  const inScope = query.client === undefined ? [...clients] : [query.client];
  if (query.client !== undefined && !clients.includes("*") && !clients.includes(query.client)) {
    return { assets: [], cursor: null };
  }
  const [only] = inScope;
  if (inScope.length === 1 && only !== undefined && only !== "*") narrow("client_name = ?", only);
  else if (!inScope.includes("*")) narrow("client_name IN (SELECT value FROM json_each(?))", JSON.stringify(inScope));
  if (query.project !== undefined) narrow("project_name = ?", query.project);
  if (query.state !== undefined) narrow("state = ?", query.state);
  if (query.q !== undefined) narrow("instr(search, ?) > 0", searchable(query.q));
  if (query.cursor !== undefined) narrow("(updated_at, file_id) < (?, ?)", ...readCursor(query.cursor));
  const condition = where.length > 0 ? `WHERE ${where.join(" AND ")}` : "";
  const statement = database
    .prepare(
      `SELECT file_id, client_name, project_name, file_name, size_bytes, state, revision, problem_code, percent, updated_at
       FROM assets ${condition} ORDER BY updated_at DESC, file_id DESC LIMIT ?`,
    )
    .bind(...values, query.limit + 1);
  const { results } = await answered(statement.all());
  const assets = results.slice(0, query.limit).map((row) => SummaryRow.parse(row));
  const last = assets.at(-1);
  return { assets, cursor: results.length > query.limit && last !== undefined ? cursorOf(last) : null };
}
