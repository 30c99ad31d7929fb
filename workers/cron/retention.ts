/** The sweep: D1 nominates, the Asset object decides, a consumer looks at Wasabi again and only then removes. */
import { assetDoor } from "../../durable-objects/asset-door.ts";
import { QUALITIES, type Quality } from "../../schemas/ladder.ts";
import type { Policy } from "../../schemas/policy.ts";
import type { RetentionTerms } from "../../schemas/retention.ts";
import { log } from "../log.ts";
import type { Env } from "../stores/config.ts";
import { within } from "../stores/deadline.ts";
import {
  compareProjects,
  type Found,
  type IdleCopy,
  idleCopies,
  idleCopiesOf,
  noteWalk,
  type ProjectBound,
  projectsOf,
  type WalkPosition,
  walkOf,
} from "../stores/retention.ts";
import { type Retention, readRetention, termsFor } from "../stores/retention-policy.ts";

const dayMs = 24 * 60 * 60_000;
const objectTimeoutMs = 10_000;
const iso = (atMs: number) => new Date(atMs).toISOString();

export const sweepLimits = {
  /** Per quality and tick: what is left is nominated at the next one. */
  nominations: 250,
  /** Of them at most from projects with a shorter retention than everybody's, so that neither waits for the other. */
  sooner: 125,
  /** Rows of a page, and pages per walk and tick: what is kept is passed over, and must not hold up who is due behind it. */
  rows: 1_000,
  pages: 20,
  /**
   * A walk goes on from tick to tick where it ended, so that what is kept is not read every minute. It starts over when it
   * has come to its end and is older than this, for pins that ended, assets that gave no answer, and rows that came late.
   */
  walkMs: 60 * 60_000,
  /** Before each of so many nominations the policy and the pins are read again. */
  batch: 100,
  /** Assets asked at the same time. */
  atOnce: 50,
} as const;

export interface Nomination extends IdleCopy {
  quality: Quality;
  terms: RetentionTerms;
}

export interface SweepCount {
  nominated: number;
  unanswered: number;
  /** Of D1, for finding who is due. */
  rowsRead: number;
}

/** What a tick goes by. */
export interface SweepGround {
  retention: Retention;
  /** Of the clients that keep something for a shorter time than everybody; in order. */
  projects: readonly { clientName: string; projectName: string }[];
  rowsRead: number;
}

export async function readGround(
  database: D1Database,
  setting: Pick<Policy, "retentionDays">,
  nowMs: number,
): Promise<SweepGround> {
  const retention = await readRetention(database, setting, iso(nowMs));
  const { overrides, retentionDays } = retention.stored.policy;
  const clients = overrides.filter(
    ({ projectName, retentionDays: own }) =>
      projectName === undefined && QUALITIES.some((quality) => (own[quality] ?? Infinity) < retentionDays[quality]),
  );
  const found = await projectsOf(
    database,
    clients.map(({ clientName }) => clientName),
  );
  return { retention, projects: found.projects, rowsRead: found.rowsRead };
}

export async function sweepRetention(
  env: Env,
  setting: Pick<Policy, "retentionDays">,
  nowMs: number,
): Promise<SweepCount> {
  const ground = await readGround(env.CATALOGUE, setting, nowMs);
  const count = { nominated: 0, unanswered: 0, rowsRead: ground.rowsRead };
  for (const quality of QUALITIES) {
    const { nominations, rowsRead } = await nominationsOf(env.CATALOGUE, ground, quality, nowMs);
    count.rowsRead += rowsRead;
    for (let from = 0; from < nominations.length; from += sweepLimits.batch) {
      const batch = nominations.slice(from, from + sweepLimits.batch);
      // A pin or a longer retention given since the tick began holds from this batch on.
      const retention = await readRetention(env.CATALOGUE, setting, iso(nowMs));
      const due = batch.flatMap((copy) => nominationOf(copy, { retention, quality, nowMs }) ?? []);
      count.nominated += due.length;
      count.unanswered += await nominateAll(env, due, nowMs);
    }
  }
  return count;
}

/** Who of one quality is due, at most as many as one tick takes; what was looked at is not looked at again in this walk. */
export async function nominationsOf(
  database: D1Database,
  { retention, projects }: SweepGround,
  quality: Quality,
  nowMs: number,
): Promise<{ nominations: Nomination[]; rowsRead: number }> {
  const due = new Map<string, Nomination>();
  const search = { database, nowMs, due, judge: { retention, quality, nowMs } };
  const name = `retention:${quality}`;
  const bounds = soonerBounds({ retention, projects }, quality, nowMs);
  const read = { atMost: sweepLimits.rows };
  let rowsRead = 0;
  if (bounds.length > 0) {
    const page = (after: WalkPosition | null) => idleCopiesOf(database, quality, { ...read, bounds, after });
    rowsRead += await walk({ ...search, name: `${name}:sooner`, atMost: sweepLimits.sooner, page, byProject: true });
  }
  const idleSince = iso(nowMs - retention.stored.policy.retentionDays[quality] * dayMs);
  const page = (after: WalkPosition | null) => idleCopies(database, quality, { ...read, idleSince, after });
  rowsRead += await walk({ ...search, name, atMost: sweepLimits.nominations, page, byProject: false });
  return { nominations: [...due.values()], rowsRead };
}

interface Judge {
  retention: Retention;
  quality: Quality;
  nowMs: number;
}

interface Search {
  database: D1Database;
  name: string;
  nowMs: number;
  judge: Judge;
  /** By file; whoever is found is added. */
  due: Map<string, Nomination>;
  atMost: number;
  byProject: boolean;
  page(after: WalkPosition | null): Promise<Found>;
}

/** Goes on until its share is found, its pages are read, or it is at its end. @returns the rows that it read */
async function walk({ database, name, nowMs, judge, due, atMost, byProject, page }: Search): Promise<number> {
  const known = await walkOf(database, name);
  let after = known?.position ?? null;
  let startedAt = known?.startedAt ?? iso(nowMs);
  let rowsRead = 0;
  for (let pages = 0; pages < sweepLimits.pages && due.size < atMost; pages += 1) {
    const found = await page(after);
    rowsRead += found.rowsRead;
    for (const copy of found.copies) {
      if (due.size >= atMost) break;
      const nomination = nominationOf(copy, judge);
      if (nomination !== null) due.set(copy.fileId, nomination);
      const { idleSince, fileId } = copy;
      const { clientName, projectName } = byProject ? copy : { clientName: "", projectName: "" };
      after = { clientName, projectName, idleSince, fileId };
    }
    if (due.size >= atMost || found.copies.length === sweepLimits.rows) continue;
    if (startedAt > iso(nowMs - sweepLimits.walkMs)) break;
    startedAt = iso(nowMs);
    after = null;
  }
  const isNew = known === null;
  if (isNew ? after !== null : after !== known.position || startedAt !== known.startedAt) {
    await noteWalk(database, name, { position: after, startedAt, isNew });
  }
  return rowsRead;
}

/** Projects whose retention is shorter than everybody's: no walk through everybody's copies meets them in time. In order. */
function soonerBounds(
  { retention, projects }: Pick<SweepGround, "retention" | "projects">,
  quality: Quality,
  nowMs: number,
): ProjectBound[] {
  const { retentionDays, overrides } = retention.stored.policy;
  const bounds = new Map<string, ProjectBound>();
  for (const { clientName, projectName, retentionDays: own } of overrides) {
    if ((own[quality] ?? Infinity) >= retentionDays[quality]) continue;
    const concerned =
      projectName === undefined
        ? projects.filter((project) => project.clientName === clientName)
        : [{ clientName, projectName }];
    for (const project of concerned) {
      const { days, pinnedUntilMs } = termsFor(retention, project, quality);
      if (days >= retentionDays[quality] || (pinnedUntilMs ?? 0) > nowMs) continue;
      bounds.set(`${project.clientName}/${project.projectName}`, { ...project, idleSince: iso(nowMs - days * dayMs) });
    }
  }
  return [...bounds.values()].sort(compareProjects);
}

function nominationOf(copy: IdleCopy, { retention, quality, nowMs }: Judge): Nomination | null {
  const terms = termsFor(retention, copy, quality);
  return isDue(copy, terms, nowMs) ? { ...copy, quality, terms } : null;
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
