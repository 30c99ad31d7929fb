/**
 * Dev only: the worker as it is deployed, whose R2 binding fails when its door is told to. `npm start -- --faults` runs
 * it; wrangler.toml does not know it.
 */
import { z } from "zod";
import worker, { AssetObject, FeedObject, PullObject } from "../workers/index.ts";
import type { Env } from "../workers/stores/config.ts";
import { calmR2, faultyBucket, R2Rule, r2DoorPath } from "./r2-fault.ts";

export { AssetObject, FeedObject, PullObject };

type FaultEnv = Env & { FAULT_TOKEN: string };

/** One for the isolate: requests and queue batches share it, and a restart is calm again. */
const weather = calmR2();

function withFaults(env: FaultEnv): Env {
  return { ...env, PROXIES: faultyBucket(env.PROXIES, weather) };
}

async function answerDoor(request: Request, env: FaultEnv): Promise<Response> {
  if (request.headers.get("authorization") !== `Bearer ${env.FAULT_TOKEN}`) return new Response(null, { status: 401 });
  if (request.method === "PUT") {
    const rules = z.array(R2Rule).safeParse(await request.json().catch(() => null));
    if (!rules.success) return new Response(z.prettifyError(rules.error), { status: 400 });
    weather.set(rules.data);
  }
  return Response.json(weather.status());
}

export default {
  fetch(request, env, ctx) {
    if (new URL(request.url).pathname === r2DoorPath) return answerDoor(request, env);
    return worker.fetch(request, withFaults(env), ctx);
  },
  queue: (batch, env, ctx) => worker.queue(batch, withFaults(env), ctx),
  scheduled: (controller, env, ctx) => worker.scheduled(controller, withFaults(env), ctx),
} satisfies ExportedHandler<FaultEnv>;
