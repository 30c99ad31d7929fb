/** The retention policy and the projects' pins, in D1. The sweep reads them again each time; doors may do with a copy of seconds. */
import { z } from "zod";
import { QUALITIES, type Quality } from "../../schemas/ladder.ts";
import type { Policy } from "../../schemas/policy.ts";
import {
  RetentionPolicy,
  type RetentionTerms,
  retentionDaysOf,
  type StoredRetention,
  type TermsByQuality,
} from "../../schemas/retention.ts";
import { auditing, type NewAuditEntry } from "./audit.ts";
import { answered } from "./catalogue.ts";
import { type Env, readConfig } from "./config.ts";

export interface ProjectPin {
  clientName: string;
  projectName: string;
  /** ISO 8601. */
  pinnedUntil: string;
}

/** All that decides about retention, at one moment. */
export interface Retention {
  stored: StoredRetention;
  /** Those that have not ended. */
  pins: readonly ProjectPin[];
}

const PolicyRow = z.object({
  document: z.string(),
  version: z.int(),
  updated_at: z.string(),
  updated_by: z.string(),
});
const PinRow = z.object({ client_name: z.string(), project_name: z.string(), pinned_until: z.string() });

const unchanged = ({ retentionDays }: Pick<Policy, "retentionDays">): StoredRetention => ({
  version: 0,
  policy: { retentionDays, overrides: [] },
  updatedAt: null,
  updatedBy: null,
});

/** @param setting what holds until somebody changes it */
export async function readRetention(
  database: D1Database,
  setting: Pick<Policy, "retentionDays">,
  now: string,
): Promise<Retention> {
  const [policy, pins] = await answered(
    database.batch([
      database.prepare("SELECT document, version, updated_at, updated_by FROM policy WHERE id = 1"),
      database
        .prepare("SELECT client_name, project_name, pinned_until FROM project_pins WHERE pinned_until > ?")
        .bind(now),
    ]),
  );
  const row = policy?.results[0];
  return {
    stored: row === undefined ? unchanged(setting) : storedOf(row),
    pins: (pins?.results ?? []).map((each) => {
      const { client_name: clientName, project_name: projectName, pinned_until: pinnedUntil } = PinRow.parse(each);
      return { clientName, projectName, pinnedUntil };
    }),
  };
}

function storedOf(row: unknown): StoredRetention {
  const { document, version, updated_at: updatedAt, updated_by: updatedBy } = PolicyRow.parse(row);
  return { version, policy: RetentionPolicy.parse(JSON.parse(document)), updatedAt, updatedBy };
}

/** What of it concerns one copy. */
export function termsFor(
  { stored, pins }: Retention,
  owner: { clientName: string; projectName: string },
  quality: Quality,
): RetentionTerms {
  const pin = pins.find((each) => each.clientName === owner.clientName && each.projectName === owner.projectName);
  return {
    days: retentionDaysOf(stored.policy, owner, quality),
    pinnedUntilMs: pin === undefined ? null : Date.parse(pin.pinnedUntil),
  };
}

export const termsOf = (retention: Retention, owner: { clientName: string; projectName: string }): TermsByQuality =>
  Object.fromEntries(QUALITIES.map((quality) => [quality, termsFor(retention, owner, quality)])) as TermsByQuality;

/** Read again: an order must not go past a pin that was given just now. @returns until when (ISO 8601), or null */
export async function projectPinOf(
  database: D1Database,
  { clientName, projectName }: { clientName: string; projectName: string },
  nowMs: number,
): Promise<string | null> {
  const statement = database
    .prepare("SELECT pinned_until FROM project_pins WHERE client_name = ?1 AND project_name = ?2 AND pinned_until > ?3")
    .bind(clientName, projectName, new Date(nowMs).toISOString());
  return answered(statement.first<string>("pinned_until"));
}

/**
 * With its line in the record, and the sweep started over, or not at all.
 * @returns false when somebody has changed it since that version
 */
export async function changeRetention(
  database: D1Database,
  { policy, version }: { policy: RetentionPolicy; version: number },
  audit: NewAuditEntry,
): Promise<boolean> {
  const document = JSON.stringify(policy);
  const changing =
    version === 0
      ? database
          .prepare(
            `INSERT INTO policy (id, document, updated_at, updated_by, version) VALUES (1, ?1, ?2, ?3, 1)
             ON CONFLICT (id) DO NOTHING`,
          )
          .bind(document, audit.at, audit.by)
      : database
          .prepare(
            `UPDATE policy SET document = ?1, updated_at = ?2, updated_by = ?3, version = version + 1
             WHERE id = 1 AND version = ?4`,
          )
          .bind(document, audit.at, audit.by, version);
  const [changed] = await answered(database.batch([changing, auditing(database, audit), sweepAnew(database)]));
  cached = null;
  return (changed?.meta.changes ?? 0) > 0;
}

/** @param pinnedUntil null lifts it */
export async function changeProjectPin(
  database: D1Database,
  { clientName, projectName, pinnedUntil }: { clientName: string; projectName: string; pinnedUntil: string | null },
  audit: NewAuditEntry,
): Promise<void> {
  const changing =
    pinnedUntil === null
      ? database
          .prepare("DELETE FROM project_pins WHERE client_name = ?1 AND project_name = ?2")
          .bind(clientName, projectName)
      : database
          .prepare(
            `INSERT INTO project_pins (client_name, project_name, pinned_until, set_at, set_by)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (client_name, project_name) DO UPDATE SET pinned_until = ?3, set_at = ?4, set_by = ?5`,
          )
          .bind(clientName, projectName, pinnedUntil, audit.at, audit.by);
  await answered(database.batch([changing, auditing(database, audit), sweepAnew(database)]));
  cached = null;
}

/** Copies that were passed over under the old rules are looked at again. */
const sweepAnew = (database: D1Database) => database.prepare("DELETE FROM sweeps WHERE name GLOB 'retention:*'");

const freshMs = 15_000;
let cached: { env: Env; readAtMs: number; retention: Retention } | null = null;

/** For answers that only show it: at most 15 seconds old in this isolate. */
export async function recentRetention(env: Env, nowMs: number): Promise<Retention> {
  if (cached?.env === env && Math.abs(nowMs - cached.readAtMs) < freshMs) return cached.retention;
  const retention = await readRetention(env.CATALOGUE, readConfig(env).policy, new Date(nowMs).toISOString());
  cached = { env, readAtMs: nowMs, retention };
  return retention;
}
