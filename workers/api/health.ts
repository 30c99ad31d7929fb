/** Liveness for load balancers: can this worker reach its database and its objects? */
import { z } from "zod";
import { assetDoor } from "../../durable-objects/asset-door.ts";
import packageFile from "../../package.json" with { type: "json" };
import { log } from "../log.ts";
import { Refusal } from "../problem.ts";
import type { Env } from "../stores/config.ts";
import { within } from "../stores/deadline.ts";
import { SharedRead } from "../stores/shared-read.ts";
import { reply, route } from "./route.ts";

const PROBE_TIMEOUT_MS = 3_000;
/** Anybody may ask: one answer serves all who ask this isolate meanwhile. */
const FRESH_MS = 5_000;

/** What cannot be reached; null when all can. */
type Health = "database" | "objects" | null;

async function probe(env: Env): Promise<Health> {
  const probes = {
    database: () => env.CATALOGUE.prepare("select 1").first(),
    objects: () => assetDoor(env.ASSET, "health-probe").view(),
  };
  for (const [name, ask] of Object.entries(probes) as [keyof typeof probes, () => Promise<unknown>][]) {
    try {
      await within(ask(), PROBE_TIMEOUT_MS, () => new Error(`no answer within ${PROBE_TIMEOUT_MS} ms`));
    } catch (fault) {
      log({ event: "health.unreachable", what: name }, fault);
      return name;
    }
  }
  return null;
}

const healths = new WeakMap<Env, SharedRead<Health>>();

function healthOf(env: Env): SharedRead<Health> {
  const known = healths.get(env);
  if (known !== undefined) return known;
  const health = new SharedRead({
    read: () => probe(env),
    freshMs: FRESH_MS,
    timeoutMs: 2 * PROBE_TIMEOUT_MS + 1_000,
    retryMs: FRESH_MS,
    onFault: (fault) => log({ event: "health.unreachable", what: "worker" }, fault),
  });
  healths.set(env, health);
  return health;
}

export const health = route({
  method: "GET",
  path: "/healthz",
  summary: `Answers 200 when the worker, its database and its objects do; looked at every ${FRESH_MS / 1_000} seconds at most.`,
  access: { by: "anyone" },
  answers: { 200: z.object({ status: z.literal("ok"), version: z.string() }) },
  async handle({ env, ctx, nowMs }) {
    const known = await healthOf(env).get(nowMs, ctx);
    const isCurrent = known !== null && Date.now() - known.atMs < FRESH_MS + 3 * PROBE_TIMEOUT_MS;
    if (!isCurrent) throw new Refusal("UNAVAILABLE", "The worker's own look did not end in time.");
    if (known.value !== null) throw new Refusal("UNAVAILABLE", `The ${known.value} cannot be reached.`);
    return reply(200, { status: "ok" as const, version: packageFile.version });
  },
});
