/** Who may be due to leave R2, asked of D1: the oldest of one quality first, so that it costs what is due, not what exists. */
import { z } from "zod";
import { FileId } from "../../schemas/id.ts";
import type { Quality } from "../../schemas/ladder.ts";
import { answered } from "./catalogue.ts";

export interface IdleCopy {
  fileId: string;
  clientName: string;
  projectName: string;
  /** ISO 8601. */
  idleSince: string;
  pinnedUntil: string | null;
}

const Row = z
  .object({
    file_id: FileId,
    client_name: z.string(),
    project_name: z.string(),
    idle_since: z.string(),
    pinned_until: z.string().nullable(),
  })
  .transform((row) => ({
    fileId: row.file_id,
    clientName: row.client_name,
    projectName: row.project_name,
    idleSince: row.idle_since,
    pinnedUntil: row.pinned_until,
  }));

export interface Found {
  copies: IdleCopy[];
  /** As D1 bills them. */
  rowsRead: number;
}

async function found(statement: D1PreparedStatement): Promise<Found> {
  const { results, meta } = await answered(statement.all());
  return { copies: results.map((row) => Row.parse(row)), rowsRead: meta.rows_read };
}

/** A row that a build before 0004 wrote since does not say whose it is: its asset does. */
const owner = (column: "client_name" | "project_name") =>
  `iif(${column} = '', coalesce((SELECT ${column} FROM assets WHERE assets.file_id = copies.file_id), ''), ${column})
   AS ${column}`;

/** Where a walk through the idle copies of one quality has come to. */
export const WalkPosition = z.object({
  /** Of a walk through projects one after the other; empty of any other. */
  clientName: z.string().default(""),
  projectName: z.string().default(""),
  idleSince: z.string(),
  fileId: z.string(),
});
export type WalkPosition = z.infer<typeof WalkPosition>;

/** Copies of one quality that nobody has played since, after a position, by the index copies_by_idleness. */
export function idleCopies(
  database: D1Database,
  quality: Quality,
  /** ISO 8601. */
  { idleSince, after, atMost }: { idleSince: string; after: WalkPosition | null; atMost: number },
): Promise<Found> {
  const statement = database
    .prepare(
      `SELECT file_id, ${owner("client_name")}, ${owner("project_name")}, idle_since, pinned_until FROM copies
       WHERE tier = 'r2' AND status = 'placed' AND quality = ?1
         AND (idle_since, file_id) > (?3, ?4) AND idle_since <= ?2
       ORDER BY idle_since, file_id LIMIT ?5`,
    )
    .bind(quality, idleSince, after?.idleSince ?? "", after?.fileId ?? "", atMost);
  return found(statement);
}

export interface ProjectBound {
  clientName: string;
  projectName: string;
  /** ISO 8601. */
  idleSince: string;
}

/**
 * The same for projects with a bound of their own, one after the other, by the index copies_by_project. The rows come as the
 * loops meet them, project by project and the oldest first: sorting would read all that is due to return a page of it.
 */
export function idleCopiesOf(
  database: D1Database,
  quality: Quality,
  /** Bounds by client and project in order. */
  { bounds, after, atMost }: { bounds: readonly ProjectBound[]; after: WalkPosition | null; atMost: number },
): Promise<Found> {
  const ahead = bounds
    .filter((bound) => after === null || compareProjects(bound, after) >= 0)
    .map((bound) => {
      const begun = after !== null && compareProjects(bound, after) === 0;
      return { ...bound, afterIdleSince: begun ? after.idleSince : "", afterFileId: begun ? after.fileId : "" };
    });
  const statement = database
    .prepare(
      `SELECT copies.file_id, copies.client_name, copies.project_name, copies.idle_since, copies.pinned_until
       FROM json_each(?2) AS bound CROSS JOIN copies INDEXED BY copies_by_project
         ON copies.client_name = bound.value ->> 'clientName' AND copies.project_name = bound.value ->> 'projectName'
         AND copies.quality = ?1 AND copies.idle_since <= bound.value ->> 'idleSince'
         AND (copies.idle_since, copies.file_id) > (bound.value ->> 'afterIdleSince', bound.value ->> 'afterFileId')
       WHERE copies.tier = 'r2' AND copies.status = 'placed'
       LIMIT ?3`,
    )
    .bind(quality, JSON.stringify(ahead), atMost);
  return found(statement);
}

interface Project {
  clientName: string;
  projectName: string;
}

export function compareProjects(one: Project, other: Project): number {
  const [a, b] =
    one.clientName === other.clientName ? [one.projectName, other.projectName] : [one.clientName, other.clientName];
  return a === b ? 0 : a < b ? -1 : 1;
}

const ProjectRow = z.object({ client_name: z.string(), project_name: z.string() });

/** Of some clients; from one to the next by the index assets_by_project, however many assets each has. */
export async function projectsOf(
  database: D1Database,
  clients: readonly string[],
): Promise<{ projects: Project[]; rowsRead: number }> {
  if (clients.length === 0) return { projects: [], rowsRead: 0 };
  const statement = database
    .prepare(
      `WITH RECURSIVE project (client_name, project_name) AS (
         SELECT value, (SELECT min(project_name) FROM assets WHERE client_name = value) FROM json_each(?1)
         UNION ALL
         SELECT client_name, (SELECT min(assets.project_name) FROM assets
           WHERE assets.client_name = project.client_name AND assets.project_name > project.project_name)
         FROM project WHERE project_name IS NOT NULL)
       SELECT client_name, project_name FROM project WHERE project_name IS NOT NULL`,
    )
    .bind(JSON.stringify(clients));
  const { results, meta } = await answered(statement.all());
  const projects = results.map((row) => {
    const { client_name: clientName, project_name: projectName } = ProjectRow.parse(row);
    return { clientName, projectName };
  });
  return { projects, rowsRead: meta.rows_read };
}

export interface Walk {
  position: WalkPosition | null;
  /** ISO 8601. */
  startedAt: string;
}

const WalkRow = z.object({ position: z.string().nullable(), started_at: z.string() });

/** How far a walk has come. @returns null when there is none, or it is to start over */
export async function walkOf(database: D1Database, name: string): Promise<Walk | null> {
  const row = await answered(
    database.prepare("SELECT position, started_at FROM sweeps WHERE name = ?1").bind(name).first(),
  );
  if (row === null) return null;
  const { position, started_at: startedAt } = WalkRow.parse(row);
  return { position: position === null ? null : WalkPosition.parse(JSON.parse(position)), startedAt };
}

/** One that goes on and is there no longer was told meanwhile to start over, and stays so. */
export async function noteWalk(
  database: D1Database,
  name: string,
  { position, startedAt, isNew }: Walk & { isNew: boolean },
): Promise<void> {
  const statement = database
    .prepare(
      isNew
        ? `INSERT INTO sweeps (name, started_at, position) VALUES (?1, ?2, ?3)
           ON CONFLICT (name) DO UPDATE SET position = ?3, started_at = ?2`
        : "UPDATE sweeps SET position = ?3, started_at = ?2 WHERE name = ?1",
    )
    .bind(name, startedAt, position === null ? null : JSON.stringify(position));
  await answered(statement.run());
}
