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
export const WalkPosition = z.object({ idleSince: z.string(), fileId: z.string() });
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

/** The same for projects with a bound of their own, by the index copies_by_project. What is pinned is left out. */
export function idleCopiesOf(
  database: D1Database,
  quality: Quality,
  { bounds, now, atMost }: { bounds: readonly ProjectBound[]; now: string; atMost: number },
): Promise<Found> {
  const statement = database
    .prepare(
      `SELECT copies.file_id, copies.client_name, copies.project_name, copies.idle_since, copies.pinned_until
       FROM json_each(?2) AS bound CROSS JOIN copies
         ON copies.client_name = bound.value ->> 'clientName' AND copies.project_name = bound.value ->> 'projectName'
         AND copies.quality = ?1 AND copies.idle_since <= bound.value ->> 'idleSince'
       WHERE copies.tier = 'r2' AND copies.status = 'placed'
         AND (copies.pinned_until IS NULL OR copies.pinned_until <= ?3)
       LIMIT ?4`,
    )
    .bind(quality, JSON.stringify(bounds), now, atMost);
  return found(statement);
}

/** From one to the next by the index assets_by_project, however many assets each has. */
export async function projectsOf(database: D1Database, clientName: string): Promise<string[]> {
  const statement = database
    .prepare(
      `WITH RECURSIVE project (name) AS (
         SELECT min(project_name) FROM assets WHERE client_name = ?1
         UNION ALL
         SELECT (SELECT min(project_name) FROM assets WHERE client_name = ?1 AND project_name > project.name)
         FROM project WHERE project.name IS NOT NULL)
       SELECT name FROM project WHERE name IS NOT NULL`,
    )
    .bind(clientName);
  return (await answered(statement.all())).results.map((row) => z.object({ name: z.string() }).parse(row).name);
}

/** How far a walk has come. @returns null when there is none, or it is to begin anew */
export async function walkPosition(
  database: D1Database,
  name: string,
  /** ISO 8601: a walk that began before is over. */
  begunAfter: string,
): Promise<WalkPosition | null> {
  const statement = database
    .prepare("SELECT position FROM sweeps WHERE name = ?1 AND started_at > ?2")
    .bind(name, begunAfter);
  const text = await answered(statement.first<string | null>("position"));
  return text === null ? null : WalkPosition.parse(JSON.parse(text));
}

export async function noteWalk(
  database: D1Database,
  name: string,
  { position, begun, now }: { position: WalkPosition | null; begun: boolean; now: string },
): Promise<void> {
  const statement = database
    .prepare(
      `INSERT INTO sweeps (name, started_at, position) VALUES (?1, ?2, ?3)
       ON CONFLICT (name) DO UPDATE SET position = ?3, started_at = iif(?4, ?2, sweeps.started_at)`,
    )
    .bind(name, now, position === null ? null : JSON.stringify(position), begun ? 1 : 0);
  await answered(statement.run());
}
