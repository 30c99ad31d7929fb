/** The ledger of opened originals, in D1: what was granted to whom, apart from what was measured. */
import type { Role } from "../../schemas/api.ts";
import { auditing } from "./audit.ts";
import { answered } from "./catalogue.ts";

export interface EgressGrant {
  /** The request id of the call. */
  id: string;
  fileId: string;
  clientName: string;
  projectName: string;
  sub: string;
  role: Role;
  grantedAt: string;
  expiresAt: string;
  timeRanges: readonly { startSeconds: number; endSeconds: number }[] | null;
  whole: boolean;
  grantedBytes: number;
  /** Read from Wasabi to find the ranges. */
  measuredBytes: number;
}

const insert = `
INSERT INTO egress_grants (id, file_id, client_name, sub, role, granted_at, expires_at, time_ranges, whole,
  granted_bytes, measured_bytes)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)`;

/** With its line in the record, which names the grant by its id, or not at all. */
export async function recordGrant(database: D1Database, grant: EgressGrant): Promise<void> {
  const { id, fileId, clientName, sub, role, grantedAt, expiresAt, grantedBytes, measuredBytes } = grant;
  const timeRanges = grant.timeRanges === null ? null : JSON.stringify(grant.timeRanges);
  const whole = grant.whole ? 1 : 0;
  const values = [id, fileId, clientName, sub, role, grantedAt, expiresAt, timeRanges, whole, grantedBytes];
  const line = { at: grantedAt, by: `${role}:${sub}`.slice(0, 200), action: "original.opened" };
  const about = { clientName, projectName: grant.projectName, fileId };
  const detail = { grantId: id, expiresAt, whole: grant.whole, grantedBytes };
  await answered(
    database.batch([
      database.prepare(insert).bind(...values, measuredBytes),
      auditing(database, { ...line, ...about, detail }),
    ]),
  );
}
