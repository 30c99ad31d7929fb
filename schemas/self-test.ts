/** What the worker says about itself when an operator asks for a self-test; `npm run doctor` judges it. */
import { z } from "zod";
import { AgentHealth } from "./agent-protocol.ts";

/** `not-checkable`: the store has no such operation, or something that it needs failed before. Never a kind of ok. */
export const CheckOutcome = z.enum(["ok", "failed", "not-checkable"]);
export type CheckOutcome = z.infer<typeof CheckOutcome>;

export const SelfTestCheck = z.object({ name: z.string(), outcome: CheckOutcome, detail: z.string() });
export type SelfTestCheck = z.infer<typeof SelfTestCheck>;

const Time = z.iso.datetime();

export const SelfTestReport = z.object({
  /** By the worker's clock. */
  at: Time,
  /** The archive's operations, carried out from inside the worker on keys of its own. */
  checks: z.array(SelfTestCheck),
  /** What this deployment runs with; no secret. */
  settings: z.object({
    environment: z.string(),
    publicUrl: z.string(),
    wasabiEndpoint: z.string(),
    wasabiRegion: z.string(),
    wasabiBucket: z.string(),
    wasabiAccessKeyId: z.string(),
    cloudflareAccountId: z.string(),
    /** By name, the ids of the queues that the worker pulls for runners. */
    pulledQueueIds: z.record(z.string(), z.string()),
    lucidAgentUrl: z.string().nullable(),
    clockOffsetMs: z.number(),
  }),
  /** Null when D1 gave no answer. */
  database: z
    .object({
      /** Names of the migrations that were applied. */
      migrations: z.array(z.string()),
      /** When a job of the timer last began, by the clock of decisions; null before the first. */
      timerAt: Time.nullable(),
    })
    .nullable(),
  /** Null in a deployment without LucidLink. */
  agent: z
    .object({
      /** Null when nothing that can be read was answered. */
      health: AgentHealth.nullable(),
      /** Its clock (the answer's Date header) less the worker's; null when there was none. */
      clockSkewMs: z.number().nullable(),
      /** Whether it takes the worker's token; null when it could not be asked. */
      takesToken: z.boolean().nullable(),
    })
    .nullable(),
  runner: z.object({
    /** Those that wait for a job now; null when that could not be asked. */
    waiting: z.int().nonnegative().nullable(),
    /** Why the worker cannot pull the transcode queues; null while it can, or has not tried. */
    pullTrouble: z.string().nullable(),
    /** Of the 1,000 assets that changed last: those that a runner encodes now. */
    encoding: z.int().nonnegative(),
    /** The last day on which the ledger has a runner's reads; null when it has none. */
    lastReadDay: z.string().nullable(),
  }),
});
export type SelfTestReport = z.infer<typeof SelfTestReport>;
