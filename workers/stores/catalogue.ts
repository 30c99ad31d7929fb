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

/** What of a file never changes is not written again, so that its indexes are left alone. */
const upsertAssets = `
INSERT INTO assets (file_id, client_name, project_name, file_name, search, size_bytes, state, revision, problem_code,
  percent, job_id, created_at, updated_at)
SELECT value ->> 'fileId', value ->> 'clientName', value ->> 'projectName', value ->> 'fileName', value ->> 'search',
  value ->> 'sizeBytes', value ->> 'state', value ->> 'revision', value ->> 'problemCode', value ->> 'percent',
  value ->> 'jobId', value ->> 'createdAt', value ->> 'updatedAt'
FROM json_each(?1) WHERE true
ON CONFLICT (file_id) DO UPDATE SET file_name = excluded.file_name, search = excluded.search,
  size_bytes = excluded.size_bytes, state = excluded.state, revision = excluded.revision,
  problem_code = excluded.problem_code, percent = excluded.percent, job_id = excluded.job_id,
  updated_at = excluded.updated_at
WHERE excluded.revision > assets.revision
RETURNING file_id`;

/** Of these documents those that the rows above are of: a late one changes nothing. */
const newest = `json_each(?1) AS document CROSS JOIN assets ON assets.file_id = document.value ->> 'fileId'
  AND assets.revision = document.value ->> 'revision'`;

/** Whose it is is written again, too: a build that did not know of it left it empty. */
const upsertCopies = `
INSERT INTO copies (file_id, tier, quality, job_id, key, status, size_bytes, placed_at, verified_at, idle_since,
  pinned_until, problem_code, revision, client_name, project_name)
SELECT assets.file_id, copy.value ->> 'tier', copy.value ->> 'quality', copy.value ->> 'jobId', copy.value ->> 'key',
  copy.value ->> 'status', copy.value ->> 'sizeBytes', copy.value ->> 'placedAt', copy.value ->> 'verifiedAt',
  copy.value ->> 'idleSince', copy.value ->> 'pinnedUntil', copy.value ->> 'problemCode', assets.revision,
  assets.client_name, assets.project_name
FROM ${newest} CROSS JOIN json_each(document.value, '$.copies') AS copy WHERE true
ON CONFLICT (file_id, tier, quality) DO UPDATE SET job_id = excluded.job_id, key = excluded.key,
  status = excluded.status, size_bytes = excluded.size_bytes, placed_at = excluded.placed_at,
  verified_at = excluded.verified_at, idle_since = excluded.idle_since, pinned_until = excluded.pinned_until,
  problem_code = excluded.problem_code, revision = excluded.revision, client_name = excluded.client_name,
  project_name = excluded.project_name`;

const dropOldCopies = `
DELETE FROM copies WHERE file_id IN (SELECT assets.file_id FROM ${newest})
  AND revision < (SELECT revision FROM assets WHERE assets.file_id = copies.file_id)`;

/**
 * One transaction for all of them. An older or equal revision changes nothing.
 * @param assets each file once
 * @returns the files whose row was written
 */
export async function publishAssets(database: D1Database, assets: readonly Asset[]): Promise<ReadonlySet<string>> {
  const documents = JSON.stringify(assets.map(documentOf));
  const statements = [upsertAssets, upsertCopies, dropOldCopies].map((sql) => database.prepare(sql).bind(documents));
  const [written] = await answered(database.batch<{ file_id: string }>(statements));
  return new Set(written?.results.map(({ file_id }) => file_id));
}

/** What the statements above read of an asset. */
function documentOf(asset: Asset) {
  const { fileId, clientName, projectName, fileName, sizeBytes, state, revision, jobId, createdAt, updatedAt } = asset;
  return {
    ...{ fileId, clientName, projectName, fileName, sizeBytes, state, revision, jobId, createdAt, updatedAt },
    search: searchable(`${fileName} ${fileId}`),
    problemCode: asset.problem?.code ?? null,
    percent: asset.progress?.percent ?? null,
    copies: copyRows(asset),
  };
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
    created_at: z.unknown(),
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
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }))
  .pipe(AssetSummary);

type ListOrder = AssetQuery["order"];

const columnOf = { changed: "updated_at", created: "created_at" } as const satisfies Record<ListOrder, string>;

const Place = z.tuple([z.iso.datetime(), z.string().max(64)]);
type Place = z.infer<typeof Place>;
/** Says which order it is of, but for that which had no name at first. */
const Cursor = { changed: Place, created: z.tuple([z.literal("created"), ...Place.def.items]) };

function cursorOf({ createdAt, updatedAt, fileId }: AssetSummary, order: ListOrder): string {
  return btoa(JSON.stringify(order === "created" ? [order, createdAt, fileId] : [updatedAt, fileId]))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

/** @throws StoreFailure BAD_REQUEST when it is not one that was handed out for this order */
function readCursor(cursor: string, order: ListOrder): Place {
  try {
    return Place.parse(
      Cursor[order].parse(JSON.parse(atob(cursor.replaceAll("-", "+").replaceAll("_", "/")))).slice(-2),
    );
  } catch {
    throw new StoreFailure("BAD_REQUEST", `The cursor is not one that was handed out for order=${order}.`);
  }
}

/**
 * The newest first. By change, an asset that changes while someone pages moves to the front: a pass may show it twice or
 * not at all. By creation, nothing moves.
 * @param clients names, or ["*"] for all
 */
export async function listAssets(
  database: D1Database,
  clients: readonly string[],
  query: AssetQuery,
): Promise<{ assets: AssetSummary[]; cursor: string | null }> {
  const column = columnOf[query.order];
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
  if (query.cursor !== undefined) narrow(`(${column}, file_id) < (?, ?)`, ...readCursor(query.cursor, query.order));
  const condition = where.length > 0 ? `WHERE ${where.join(" AND ")}` : "";
  const statement = database
    .prepare(
      `SELECT file_id, client_name, project_name, file_name, size_bytes, state, revision, problem_code, percent, created_at, updated_at
       FROM assets ${condition} ORDER BY ${column} DESC, file_id DESC LIMIT ?`,
    )
    .bind(...values, query.limit + 1);
  const { results } = await answered(statement.all());
  const assets = results.slice(0, query.limit).map((row) => SummaryRow.parse(row));
  const last = assets.at(-1);
  return { assets, cursor: results.length > query.limit && last !== undefined ? cursorOf(last, query.order) : null };
}
