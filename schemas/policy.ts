/** What an operator may tune: ladder, placement, retention, leases, retries. Every field has a default. */
import { z } from "zod";
import { LadderPolicy, Quality } from "./ladder.ts";
import { RetentionDays } from "./retention.ts";

const DurationMs = z.int().positive();
const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;
const mib = 1024 ** 2;

/** Exponential backoff: baseMs, doubled at each attempt, at most maxMs, with ± 20 % jitter from the event's stamp. */
export const Backoff = z.object({
  baseMs: DurationMs.default(5_000),
  maxMs: DurationMs.default(15 * minuteMs),
});
export type Backoff = z.infer<typeof Backoff>;

export const Policy = z.object({
  ladder: LadderPolicy.prefault({}),
  placement: z
    .object({
      /** Qualities that go to R2 as soon as they are archived. */
      edgeQualities: z.array(Quality).default(["360p", "540p"]),
      /** Whether this deployment has LucidLink: the highest rendition goes there. */
      lucidlink: z.boolean().default(true),
    })
    .prefault({}),
  /** Days without access after which a proxy leaves R2, until an operator changes them (`schemas/retention.ts`). */
  retentionDays: RetentionDays.default({ "360p": 30, "540p": 30, "720p": 14, "1080p": 7, "2160p": 7 }),
  leaseMs: DurationMs.default(45_000),
  /** How long an announced original may be absent before the asset fails. */
  originalGraceMs: DurationMs.default(60_000),
  /** A command that no consumer has begun is sent again after this, doubling each time. */
  queuedWatchdogMs: DurationMs.default(20_000),
  /** A command whose consumer fell silent is sent again after this; consumers report at a third of it. */
  silentWatchdogMs: DurationMs.default(30_000),
  /** An unclaimed transcode job is announced again after this, doubling each time. */
  transcodeWatchdogMs: DurationMs.default(30_000),
  watchdogMaxMs: DurationMs.default(30 * minuteMs),
  backoff: Backoff.prefault({}),
  /** The agent's return must be noticed soon, so its backoff stays short. */
  agentBackoff: Backoff.prefault({ baseMs: 3_000, maxMs: 30_000 }),
  /** How often a LucidLink transfer under way is asked after, should its callback be lost. */
  agentCheckMs: DurationMs.default(30_000),
  /** A consumer's life: no other kind of operation is issued on a key while a claimed one may still act. */
  opTokenMs: DurationMs.default(15 * minuteMs),
  /** Failures on different runners before an asset counts as poison. */
  poisonRunners: z.int().positive().default(3),
  /** Encode attempts in all before the asset fails, however many runners there are. */
  transcodeAttempts: z.int().positive().default(3),
  /** Tries of a step whose failure is not an outage (a wrong checksum, say). */
  stepAttempts: z.int().positive().default(5),
  /** What is larger moves in parts of about this size, by a message for every eight (512 MiB at most). S3 wants 5 MiB. */
  transferPartBytes: z
    .int()
    .min(5 * mib)
    .default(64 * mib),
  /** Messages of one transfer that are out at the same time: its speed, and what it may take from others. */
  transferWindow: z.int().min(1).max(16).default(6),
  deleteGraceMs: DurationMs.default(7 * dayMs),
});
export type Policy = z.infer<typeof Policy>;
