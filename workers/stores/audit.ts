/** The record of what operators ordered, in D1: who, when, what, about which client, project or file. */
import { z } from "zod";
import type { AuditEntry } from "../../schemas/audit.ts";
import { answered } from "./catalogue.ts";

export interface NewAuditEntry extends Omit<AuditEntry, "id"> {}

/** For a batch, right behind the change that it records: a change that touched no row leaves no line. */
export function auditing(database: D1Database, entry: NewAuditEntry): D1PreparedStatement {
  const { at, by, action, clientName, projectName, fileId, detail } = entry;
  return database
    .prepare(
      `INSERT INTO audit (at, by, action, client_name, project_name, file_id, detail)
       SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE changes() > 0`,
    )
    .bind(at, by, action, clientName, projectName, fileId, JSON.stringify(detail));
}

/**
 * Of what is ordered elsewhere than in D1: before it is, so that nothing is carried out that is not on record.
 * @returns where its outcome is noted
 */
export async function recordAudit(database: D1Database, entry: NewAuditEntry): Promise<number> {
  const { at, by, action, clientName, projectName, fileId, detail } = entry;
  const statement = database
    .prepare(
      `INSERT INTO audit (at, by, action, client_name, project_name, file_id, detail)
       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)`,
    )
    .bind(at, by, action, clientName, projectName, fileId, JSON.stringify(detail));
  return (await answered(statement.run())).meta.last_row_id;
}

export async function noteOutcome(database: D1Database, id: number, detail: AuditEntry["detail"]): Promise<void> {
  const statement = database.prepare("UPDATE audit SET detail = ?2 WHERE seq = ?1").bind(id, JSON.stringify(detail));
  await answered(statement.run());
}

const Row = z
  .object({
    seq: z.int(),
    at: z.string(),
    by: z.string(),
    action: z.string(),
    client_name: z.string().nullable(),
    project_name: z.string().nullable(),
    file_id: z.string().nullable(),
    detail: z.string(),
  })
  .transform(({ seq, client_name, project_name, file_id, detail, ...rest }) => ({
    ...rest,
    id: seq,
    clientName: client_name,
    projectName: project_name,
    fileId: file_id,
    detail: JSON.parse(detail) as Record<string, unknown>,
  }));

/** The newest first. Of some clients: only what is about them. */
export async function listAudit(
  database: D1Database,
  clients: readonly string[],
  { beforeId, limit }: { beforeId: number | null; limit: number },
): Promise<AuditEntry[]> {
  const statement = clients.includes("*")
    ? database
        .prepare("SELECT * FROM audit WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2")
        .bind(beforeId ?? Number.MAX_SAFE_INTEGER, limit)
    : database
        .prepare(
          `SELECT * FROM audit WHERE client_name IN (SELECT value FROM json_each(?3)) AND seq < ?1
           ORDER BY seq DESC LIMIT ?2`,
        )
        .bind(beforeId ?? Number.MAX_SAFE_INTEGER, limit, JSON.stringify(clients));
  return (await answered(statement.all())).results.map((row) => Row.parse(row));
}
