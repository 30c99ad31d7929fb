/** The operator's self-test: the worker tries on itself what it needs of the world, and tells. `npm run doctor` calls it. */
import { pullDoor } from "../../durable-objects/pull-door.ts";
import { type SelfTestCheck, SelfTestReport } from "../../schemas/self-test.ts";
import { Refusal } from "../problem.ts";
import type { Config, Env } from "../stores/config.ts";
import { databaseFacts, encodingFacts, selfTestName } from "../stores/deployment-fact.ts";
import { type AgentLook, lookAtAgent } from "../stores/lucidlink.ts";
import { beginSweep } from "../stores/stray-upload.ts";
import { testWasabi } from "../stores/wasabi-self-test.ts";
import { mustReachAll, operators } from "./operator.ts";
import { reply, route } from "./route.ts";

const spacingSeconds = 10;

export const selfTest = route({
  method: "POST",
  path: "/v1/admin/self-test",
  summary: "Try on the archive, the database and the agent what the worker needs of them. One at a time.",
  access: operators,
  answers: { 200: SelfTestReport },
  async handle({ env, config, caller, nowMs }) {
    mustReachAll(caller);
    await takeTurn(env, nowMs);
    const [checks, database, agent, runner] = await Promise.all([
      testWasabi(config.wasabi, { forgiving: config.environment === "local" }),
      databaseFacts(env.CATALOGUE),
      config.lucidAgent === null ? null : lookAtAgent(config.lucidAgent),
      runnerFacts(env),
    ]);
    return reply(200, reportOf({ env, config }, { checks, database, agent, runner }));
  },
});

/**
 * A database that cannot be asked keeps nobody from finding that out.
 * @throws Refusal CONFLICT while another one may run
 */
async function takeTurn(env: Env, nowMs: number): Promise<void> {
  const [now, before] = [nowMs, nowMs - spacingSeconds * 1000].map((ms) => new Date(ms).toISOString());
  const isFree = await beginSweep(env.CATALOGUE, selfTestName, now ?? "", before ?? "").catch(() => true);
  if (isFree) return;
  throw new Refusal("CONFLICT", `A self-test began less than ${spacingSeconds} s ago.`, {
    headers: { "retry-after": String(spacingSeconds) },
  });
}

async function runnerFacts(env: Env): Promise<SelfTestReport["runner"]> {
  const [pull, encoding] = await Promise.all([
    pullDoor(env.PULL)
      .look()
      .catch(() => null),
    encodingFacts(env.CATALOGUE),
  ]);
  return { waiting: pull?.waiting ?? null, pullTrouble: pull?.trouble ?? null, ...encoding };
}

function reportOf(
  { env, config }: { env: Env; config: Config },
  found: { checks: SelfTestCheck[]; agent: AgentLook | null } & Pick<SelfTestReport, "database" | "runner">,
): SelfTestReport {
  const { wasabi, pull, lucidAgent, environment, publicUrl } = config;
  return {
    // The clock as it is now, not as the request began: it is compared with others.
    at: new Date().toISOString(),
    settings: {
      environment,
      publicUrl,
      wasabiEndpoint: wasabi.endpoint,
      wasabiRegion: wasabi.region,
      wasabiBucket: wasabi.bucket,
      wasabiAccessKeyId: wasabi.accessKeyId,
      cloudflareAccountId: pull.accountId,
      pulledQueueIds: pull.queueIds,
      lucidAgentUrl: lucidAgent?.url ?? null,
      clockOffsetMs: Number(env.CLOCK_OFFSET_MS) || 0,
    },
    ...found,
  };
}
