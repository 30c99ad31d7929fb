/** The sweep: D1 nominates, the Asset object decides, a consumer looks at Wasabi again and only then removes. */
import { assetDoor } from "../../durable-objects/asset-door.ts";
import { QUALITIES, type Quality } from "../../schemas/ladder.ts";
import type { Policy } from "../../schemas/policy.ts";
import type { RetentionTerms } from "../../schemas/retention.ts";
import { log } from "../log.ts";
import type { Env } from "../stores/config.ts";
import { within } from "../stores/deadline.ts";
import {
  type IdleCopy,
  idleCopies,
  idleCopiesOf,
  noteWalk,
  type ProjectBound,
  projectsOf,
  walkPosition,
} from "../stores/retention.ts";
import { type Retention, readRetention, termsFor } from "../stores/retention-policy.ts";

const dayMs = 24 * 60 * 60_000;
const objectTimeoutMs = 10_000;
const iso = (atMs: number) => new Date(atMs).toISOString();

export const sweepLimits = {
  /** Per quality and tick: what is left is nominated at the next one. */
  nominations: 250,
  /** Rows looked at per quality and tick, the kept ones among them. */
  rows: 1_000,
  /**
   * A walk goes on from tick to tick where it ended, so that what is kept is not read every minute; it begins anew after
   * this, for pins that ended, assets that gave no answer, and rows that came late.
   */
  walkMs: 60 * 60_000,
  /** Assets asked at the same time. */
  atOnce: 10,
} as const;

export interface Nomination {
  fileId: string;
  quality: Quality;
  terms: RetentionTerms;
}

export interface SweepCount {
  nominated: number;
  unanswered: number;
  /** Of D1, for finding who is due. */
  rowsRead: number;
}

export async function sweepRetention(
  env: Env,
  setting: Pick<Policy, "retentionDays">,
  nowMs: number,
): Promise<SweepCount> {
  const retention = await readRetention(env.CATALOGUE, setting, iso(nowMs));
  const count = { nominated: 0, unanswered: 0, rowsRead: 0 };
  for (const quality of QUALITIES) {
    const { nominations, rowsRead } = await nominationsOf(env.CATALOGUE, retention, quality, nowMs);
    count.rowsRead += rowsRead;
    count.nominated += nominations.length;
    count.unanswered += await nominateAll(env, nominations, nowMs);
  }
  return count;
}

/** Who of one quality is due, at most as many as one tick takes; what was looked at is not looked at again in this walk. */
export async function nominationsOf(
  database: D1Database,
  retention: Retention,
  quality: Quality,
  nowMs: number,
): Promise<{ nominations: Nomination[]; rowsRead: number }> {
  const name = `retention:${quality}`;
  const after = await walkPosition(database, name, iso(nowMs - sweepLimits.walkMs));
  const days = retention.stored.policy.retentionDays[quality];
  const idleSince = iso(nowMs - days * dayMs);
  const walked = await idleCopies(database, quality, { idleSince, after, atMost: sweepLimits.rows });
  const sooner = await soonerThan(days, database, retention, quality, nowMs);
  const due = new Map<string, Nomination>();
  for (const copy of sooner.copies) addIfDue(due, copy, { retention, quality, nowMs });
  let position = after;
  for (const copy of walked.copies) {
    if (due.size >= sweepLimits.nominations) break;
    addIfDue(due, copy, { retention, quality, nowMs });
    position = { idleSince: copy.idleSince, fileId: copy.fileId };
  }
  if (position !== after) await noteWalk(database, name, { position, begun: after === null, now: iso(nowMs) });
  return { nominations: [...due.values()], rowsRead: walked.rowsRead + sooner.rowsRead };
}

/** Copies of projects whose retention is shorter than everybody's: no walk through everybody's copies meets them in time. */
async function soonerThan(
  days: number,
  database: D1Database,
  retention: Retention,
  quality: Quality,
  nowMs: number,
): Promise<{ copies: IdleCopy[]; rowsRead: number }> {
  const bounds: ProjectBound[] = [];
  for (const override of retention.stored.policy.overrides) {
    const own = override.retentionDays[quality];
    if (own === undefined || own >= days) continue;
    const { clientName, projectName } = override;
    const projects = projectName === undefined ? await projectsOf(database, clientName) : [projectName];
    for (const each of projects) {
      const { days: held, pinnedUntilMs } = termsFor(retention, { clientName, projectName: each }, quality);
      if (held > own || (pinnedUntilMs ?? 0) > nowMs) continue;
      bounds.push({ clientName, projectName: each, idleSince: iso(nowMs - own * dayMs) });
    }
  }
  if (bounds.length === 0) return { copies: [], rowsRead: 0 };
  return idleCopiesOf(database, quality, { bounds, now: iso(nowMs), atMost: sweepLimits.nominations });
}

function addIfDue(
  due: Map<string, Nomination>,
  copy: IdleCopy,
  { retention, quality, nowMs }: { retention: Retention; quality: Quality; nowMs: number },
): void {
  const terms = termsFor(retention, copy, quality);
  if (isDue(copy, terms, nowMs)) due.set(copy.fileId, { fileId: copy.fileId, quality, terms });
}

/** By what the catalogue knows; the asset may know of a later access. Pure. */
export function isDue(copy: IdleCopy, terms: RetentionTerms, nowMs: number): boolean {
  const pinnedUntilMs = Math.max(
    terms.pinnedUntilMs ?? 0,
    copy.pinnedUntil === null ? 0 : Date.parse(copy.pinnedUntil),
  );
  return Date.parse(copy.idleSince) + terms.days * dayMs <= nowMs && pinnedUntilMs <= nowMs;
}

/** One asset that does not answer keeps nobody else waiting. @returns how many did not */
async function nominateAll(env: Env, nominations: readonly Nomination[], nowMs: number): Promise<number> {
  const waiting = [...nominations];
  let unanswered = 0;
  const worker = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (!(await nominate(env, next, nowMs))) unanswered += 1;
    }
  };
  await Promise.all(Array.from({ length: Math.min(sweepLimits.atOnce, waiting.length) }, worker));
  return unanswered;
}

async function nominate(env: Env, { fileId, quality, terms }: Nomination, nowMs: number): Promise<boolean> {
  const key = `retention:${quality}:${nowMs}`;
  const event = { type: "RetentionElapsed", quality, terms } as const;
  try {
    const answer = assetDoor(env.ASSET, fileId).apply({ key, by: "cron", event });
    await within(answer, objectTimeoutMs, () => new Error(`the asset gave no answer within ${objectTimeoutMs} ms`));
    return true;
  } catch (error) {
    log({ event: "retention.nomination-failed", fileId, quality }, error);
    return false;
  }
}
