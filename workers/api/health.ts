/** Liveness for load balancers: can this worker reach its database and its objects? */
import { z } from "zod";
import { assetDoor } from "../../durable-objects/asset-door.ts";
import packageFile from "../../package.json" with { type: "json" };
import { Refusal } from "../problem.ts";
import { within } from "../stores/deadline.ts";
import { reply, route } from "./route.ts";

const PROBE_TIMEOUT_MS = 3_000;

export const health = route({
  method: "GET",
  path: "/healthz",
  summary: "Answers 200 when the worker, its database and its objects do.",
  access: { by: "anyone" },
  answers: { 200: z.object({ status: z.literal("ok"), version: z.string() }) },
  async handle({ env }) {
    const probes = {
      database: env.CATALOGUE.prepare("select 1").first(),
      objects: assetDoor(env.ASSET, "health-probe").view(),
    };
    for (const [name, probe] of Object.entries(probes)) {
      const late = () => new Error(`no answer within ${PROBE_TIMEOUT_MS} ms`);
      await within<unknown>(probe, PROBE_TIMEOUT_MS, late).catch((cause: unknown) => {
        throw new Refusal("UNAVAILABLE", `The ${name} cannot be reached.`, { cause });
      });
    }
    return reply(200, { status: "ok" as const, version: packageFile.version });
  },
});
