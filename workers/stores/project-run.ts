/** Orders about a whole project, in D1: what they would move, how far they have come. The timer carries them out by pages. */
import { z } from "zod";
import { Quality } from "../../schemas/ladder.ts";
import type { ProjectRun } from "../../schemas/retention-order.ts";
import { auditing, type NewAuditEntry } from "./audit.ts";
import { answered } from "./catalogue.ts";

interface Project {
  clientName: string;
  projectName: string;
}

export interface Amount {
  copies: number;
  bytes: number;
}

const Request = z.object({ qualities: z.array(Quality).nullable(), until: z.string().nullable() });

const RunRow = z
  .object({
    id: z.string(),
    kind: z.enum(["wrap", "prewarm"]),
    client_name: z.string(),
    project_name: z.string(),
    request: z.string(),
    after_file_id: z.string(),
    assets: z.int(),
    ordered: z.int(),
    unanswered: z.int(),
    requested_at: z.string(),
    requested_by: z.string(),
    finished_at: z.string().nullable(),
  })
  .transform(({ id, kind, assets, ordered, unanswered, ...row }) => ({
    run: {
      id,
      kind,
      clientName: row.client_name,
      projectName: row.project_name,
      ...Request.parse(JSON.parse(row.request)),
      assets,
      ordered,
      unanswered,
      requestedAt: row.requested_at,
      requestedBy: row.requested_by,
      finishedAt: row.finished_at,
    } satisfies ProjectRun,
    afterFileId: row.after_file_id,
  }));
export type OpenRun = z.infer<typeof RunRow>;

export async function isProject(database: D1Database, { clientName, projectName }: Project): Promise<boolean> {
  const statement = database
    .prepare("SELECT 1 AS found FROM assets WHERE client_name = ?1 AND project_name = ?2 LIMIT 1")
    .bind(clientName, projectName);
  return (await answered(statement.first())) !== null;
}

export async function orderRun(database: D1Database, run: ProjectRun, audit: NewAuditEntry): Promise<void> {
  const { id, kind, clientName, projectName, qualities, until, requestedAt, requestedBy } = run;
  const statement = database
    .prepare(
      `INSERT INTO project_runs (id, kind, client_name, project_name, request, after_file_id, assets, ordered, unanswered,
         requested_at, requested_by)
       VALUES (?1, ?2, ?3, ?4, ?5, '', 0, 0, 0, ?6, ?7)`,
    )
    .bind(id, kind, clientName, projectName, JSON.stringify({ qualities, until }), requestedAt, requestedBy);
  await answered(database.batch([statement, auditing(database, audit)]));
}

/** The oldest first. */
export async function openRuns(database: D1Database, atMost: number): Promise<OpenRun[]> {
  const statement = database
    .prepare("SELECT * FROM project_runs WHERE finished_at IS NULL ORDER BY requested_at LIMIT ?")
    .bind(atMost);
  return (await answered(statement.all())).results.map((row) => RunRow.parse(row));
}

/** The newest first. */
export async function runsOf(
  database: D1Database,
  { clientName, projectName }: Project,
  atMost: number,
): Promise<ProjectRun[]> {
  const statement = database
    .prepare(
      "SELECT * FROM project_runs WHERE client_name = ?1 AND project_name = ?2 ORDER BY requested_at DESC LIMIT ?3",
    )
    .bind(clientName, projectName, atMost);
  return (await answered(statement.all())).results.map((row) => RunRow.parse(row).run);
}

const PageRow = z.object({ file_id: z.string(), qualities: z.string() }).transform(({ file_id, qualities }) => ({
  fileId: file_id,
  edgeQualities: z.array(Quality).parse(JSON.parse(qualities)),
}));
export type ProjectAsset = z.infer<typeof PageRow>;

/**
 * A project's assets after one, by the index assets_by_project, each with what of it lies on R2 or may come to lie there:
 * what is being removed may be wanted again.
 */
export async function projectAssets(
  database: D1Database,
  { clientName, projectName, afterFileId }: Project & { afterFileId: string },
  atMost: number,
): Promise<ProjectAsset[]> {
  const statement = database
    .prepare(
      `SELECT assets.file_id, (SELECT json_group_array(copies.quality) FROM copies
         WHERE copies.file_id = assets.file_id AND copies.tier = 'r2'
           AND copies.status IN ('wanted', 'placing', 'placed', 'removing')) AS qualities
       FROM assets WHERE client_name = ?1 AND project_name = ?2 AND file_id > ?3 ORDER BY file_id LIMIT ?4`,
    )
    .bind(clientName, projectName, afterFileId, atMost);
  return (await answered(statement.all())).results.map((row) => PageRow.parse(row));
}

/** Before its last page, with a line in the record. */
export async function endRun(
  database: D1Database,
  { id, clientName, projectName }: ProjectRun,
  { at, because }: { at: string; because: string },
): Promise<void> {
  const statement = database
    .prepare("UPDATE project_runs SET finished_at = ?2 WHERE id = ?1 AND finished_at IS NULL")
    .bind(id, at);
  const line = { at, by: "cron", action: "project.run-ended", clientName, projectName, fileId: null };
  await answered(database.batch([statement, auditing(database, { ...line, detail: { runId: id, because } })]));
}

/** One page is done. @returns false when it was done by another, or the run is over */
export async function noteProgress(
  database: D1Database,
  id: string,
  page: {
    begin: string;
    afterFileId: string;
    assets: number;
    ordered: number;
    unanswered: number;
    finishedAt: string | null;
  },
): Promise<boolean> {
  const statement = database
    .prepare(
      `UPDATE project_runs SET after_file_id = ?2, assets = assets + ?3, ordered = ordered + ?4,
         unanswered = unanswered + ?5, finished_at = ?6
       WHERE id = ?1 AND finished_at IS NULL AND after_file_id = ?7`,
    )
    .bind(id, page.afterFileId, page.assets, page.ordered, page.unanswered, page.finishedAt, page.begin);
  return (await answered(statement.run())).meta.changes > 0;
}

const AmountRow = z.object({ copies: z.int(), bytes: z.int() });

async function amount(statement: D1PreparedStatement): Promise<Amount> {
  return AmountRow.parse(await answered(statement.first()));
}

/** What of a project lies on R2 or is on its way there, and may leave it or is held there by a pin. */
export async function edgeAmount(
  database: D1Database,
  { clientName, projectName }: Project,
  { pinned, now }: { pinned: boolean; now: string },
): Promise<Amount> {
  const condition = pinned ? "pinned_until > ?3" : "(pinned_until IS NULL OR pinned_until <= ?3)";
  return amount(
    database
      .prepare(
        `SELECT count(*) AS copies, coalesce(sum(copies.size_bytes), 0) AS bytes
         FROM assets JOIN copies ON copies.file_id = assets.file_id AND copies.tier = 'r2'
           AND copies.status IN ('wanted', 'placing', 'placed')
         WHERE assets.client_name = ?1 AND assets.project_name = ?2 AND ${condition}`,
      )
      .bind(clientName, projectName, now),
  );
}

/** Of these qualities of a project, as they lie in Wasabi: those that lie on R2 too, or those that do not. */
export async function archivedAmount(
  database: D1Database,
  { clientName, projectName }: Project,
  { qualities, onEdge }: { qualities: readonly Quality[]; onEdge: boolean },
): Promise<Amount> {
  return amount(
    database
      .prepare(
        `SELECT count(*) AS copies, coalesce(sum(archived.size_bytes), 0) AS bytes
         FROM assets JOIN copies AS archived ON archived.file_id = assets.file_id AND archived.tier = 'wasabi'
           AND archived.quality IN (SELECT value FROM json_each(?3)) AND archived.status = 'placed'
         WHERE assets.client_name = ?1 AND assets.project_name = ?2
           AND ?4 = EXISTS (SELECT 1 FROM copies AS edge WHERE edge.file_id = assets.file_id AND edge.tier = 'r2'
             AND edge.quality = archived.quality AND edge.status = 'placed')`,
      )
      .bind(clientName, projectName, JSON.stringify(qualities), onEdge ? 1 : 0),
  );
}
