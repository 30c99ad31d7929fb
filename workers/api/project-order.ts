/** What an operator orders for a whole project: kept on R2, taken off it, or brought there before a screening. */
import { z } from "zod";
import type { TokenClaims } from "../../schemas/api.ts";
import { monthlyUsd } from "../../schemas/price.ts";
import {
  PinOrder,
  PrewarmAnswer,
  PrewarmOrder,
  ProjectPath,
  ProjectPin,
  type ProjectRun,
  ProjectRunPage,
  WrapAnswer,
  WrapOrder,
} from "../../schemas/retention-order.ts";
import { Refusal } from "../problem.ts";
import { decisionNowMs } from "../stores/clock.ts";
import type { Env } from "../stores/config.ts";
import { type Amount, archivedAmount, edgeAmount, orderRun, runsOf } from "../stores/project-run.ts";
import { changeProjectPin, projectPinOf } from "../stores/retention-policy.ts";
import { aheadMs, operatorName, operators, projectFor } from "./operator.ts";
import { reply, route } from "./route.ts";

const RUNS_SHOWN = 50;

const path = (verb: string) => `/v1/admin/projects/{client}/{project}/${verb}`;
const asking = { access: operators, params: ProjectPath } as const;
const iso = (atMs: number) => new Date(atMs).toISOString();

interface Project {
  clientName: string;
  projectName: string;
}

interface Operator {
  env: Env;
  caller: TokenClaims;
}

async function pin({ env, caller }: Operator, project: Project, pinnedUntil: string | null) {
  const action = pinnedUntil === null ? "project.unpinned" : "project.pinned";
  const audit = { at: iso(decisionNowMs(env)), by: operatorName(caller), action, ...project, fileId: null };
  const detail = pinnedUntil === null ? {} : { until: pinnedUntil };
  await changeProjectPin(env.CATALOGUE, { ...project, pinnedUntil }, { ...audit, detail });
  return { ...project, pinnedUntil };
}

export const pinProject = route({
  ...asking,
  method: "POST",
  path: path("pin"),
  summary: "Nothing of the project leaves R2 by itself until a time, assets that come later among it.",
  body: PinOrder,
  answers: { 200: ProjectPin },
  async handle({ env, caller }, { params, body: { until } }) {
    const project = await projectFor(env, caller, params);
    return reply(200, await pin({ env, caller }, project, iso(aheadMs(until, decisionNowMs(env)))));
  },
});

export const unpinProject = route({
  ...asking,
  method: "POST",
  path: path("unpin"),
  summary: "Lifts the project's pin. Pins of single assets stay.",
  answers: { 200: ProjectPin },
  async handle({ env, caller }, { params }) {
    const project = await projectFor(env, caller, params);
    return reply(200, await pin({ env, caller }, project, null));
  },
});

async function startRun(
  { env, caller }: Operator,
  project: Project,
  order: Pick<ProjectRun, "kind" | "qualities" | "until">,
): Promise<ProjectRun> {
  const requestedAt = iso(decisionNowMs(env));
  const requestedBy = operatorName(caller);
  const run: ProjectRun = {
    id: crypto.randomUUID(),
    ...order,
    ...project,
    assets: 0,
    ordered: 0,
    unanswered: 0,
    requestedAt,
    requestedBy,
    finishedAt: null,
  };
  const action = order.kind === "wrap" ? "project.wrapped" : "project.prewarmed";
  const detail = { runId: run.id, qualities: run.qualities, until: run.until };
  await orderRun(env.CATALOGUE, run, { at: requestedAt, by: requestedBy, action, ...project, fileId: null, detail });
  return run;
}

const allHeld = (free: Amount, held: Amount) => ({
  leaving: { copies: 0, bytes: 0 },
  pinned: { copies: free.copies + held.copies, bytes: free.bytes + held.bytes },
});

export const wrapProject = route({
  ...asking,
  method: "POST",
  path: path("wrap"),
  summary:
    "Takes everything of a finished project off R2, a page of assets at each tick of the timer; or tells what that would do.",
  body: WrapOrder,
  answers: { 200: WrapAnswer, 202: WrapAnswer },
  async handle({ env, caller }, { params, body: { dryRun } }) {
    const project = await projectFor(env, caller, params);
    const nowMs = decisionNowMs(env);
    const now = iso(nowMs);
    const projectPin = await projectPinOf(env.CATALOGUE, project, nowMs);
    const free = await edgeAmount(env.CATALOGUE, project, { pinned: false, now });
    const held = await edgeAmount(env.CATALOGUE, project, { pinned: true, now });
    const { leaving, pinned } = projectPin === null ? { leaving: free, pinned: held } : allHeld(free, held);
    const told = { leaving, pinned, savedUsdPerMonth: monthlyUsd("r2", leaving.bytes) };
    if (dryRun) return reply(200, { ...told, run: null });
    if (projectPin !== null) {
      throw new Refusal("CONFLICT", `The project is pinned until ${projectPin}: unpin it first.`);
    }
    const run = await startRun({ env, caller }, project, { kind: "wrap", qualities: null, until: null });
    return reply(202, { ...told, run });
  },
});

export const prewarmProject = route({
  ...asking,
  method: "POST",
  path: path("prewarm"),
  summary:
    "Brings the chosen qualities of a project to R2, and keeps them there until a time; or tells what that would do.",
  body: PrewarmOrder,
  answers: { 200: PrewarmAnswer, 202: PrewarmAnswer },
  async handle({ env, caller }, { params, body: { qualities, until, dryRun } }) {
    const project = await projectFor(env, caller, params);
    const pinnedUntil = until === undefined ? null : iso(aheadMs(until, decisionNowMs(env)));
    const coming = await archivedAmount(env.CATALOGUE, project, { qualities, onEdge: false });
    const present = await archivedAmount(env.CATALOGUE, project, { qualities, onEdge: true });
    const told = { coming, present, addedUsdPerMonth: monthlyUsd("r2", coming.bytes) };
    if (dryRun) return reply(200, { ...told, run: null });
    const run = await startRun({ env, caller }, project, { kind: "prewarm", qualities, until: pinnedUntil });
    return reply(202, { ...told, run });
  },
});

export const projectRuns = route({
  ...asking,
  method: "GET",
  path: path("runs"),
  summary: "The project's orders, newest first, and how far each has come.",
  query: z.strictObject({}),
  answers: { 200: ProjectRunPage },
  async handle({ env, caller }, { params }) {
    const project = await projectFor(env, caller, params);
    return reply(200, { runs: await runsOf(env.CATALOGUE, project, RUNS_SHOWN) });
  },
});
