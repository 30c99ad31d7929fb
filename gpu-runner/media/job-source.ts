/**
 * What a job knows of its source: probed before the encode, and what its runs show of it later, damage or a rate that rises after
 * the beginning.
 */
import type { Quality, RenditionPlan } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import type { Binaries } from "./binaries.ts";
import type { Dialect } from "./encode-command.ts";
import type { EncodeLog } from "./encode-course.ts";
import { EncodeError } from "./encode-failure.ts";
import type { RunResult } from "./encode-run.ts";
import type { DamageReport } from "./measure/damage.ts";
import { findDamage, heldSeconds, LEAST_PICTURE_SHARE, withoutLostSound } from "./measure/damage-pass.ts";
import { findSilence } from "./measure/silence.ts";
import type { Holes } from "./picture-graph.ts";
import { type ProbeOptions, probeSource } from "./probe.ts";
import type { SourceProxy } from "./source-proxy.ts";
import { type EncodeEvidence, type LengthTrust, missingSound, UNDECODABLE } from "./verify.ts";

type Reader = {
  options: {
    binaries: Binaries;
    plan: (source: SourceProbe) => Promise<RenditionPlan[]>;
    skip: readonly Quality[];
    onProbe: (source: SourceProbe) => void;
    onDamage?: (source: SourceProbe) => Promise<void>;
    log: EncodeLog;
    probeTimeoutMs?: number;
  };
  proxy: SourceProxy;
  signal: AbortSignal;
};

type KnownSource = {
  /** Without sound tracks of which nothing decodes. */
  source: SourceProbe;
  length: LengthTrust;
  /** The rate is that of its first packets. */
  isSampled: boolean;
  /** The file ends where its own structure says. */
  endsAsStated: boolean;
  /** undefined: not looked for; null: looked for in vain. */
  damage: DamageReport | null | undefined;
  holes: Holes | null;
};

export type SourceJob = Reader & KnownSource;

export async function planOf({ plan, skip }: Reader["options"], source: SourceProbe): Promise<RenditionPlan[]> {
  return (await plan(source)).filter(({ quality }) => !skip.includes(quality));
}

function probeOptions({ options, proxy, signal }: Reader): ProbeOptions {
  const timeoutMs = options.probeTimeoutMs ?? 120_000;
  return { ffprobePath: options.binaries.ffprobePath, url: proxy.url, timeoutMs, signal };
}

/** Throws what the source or its store is to blame for. */
export async function readSource(reader: Reader): Promise<KnownSource> {
  const result = await probeSource(probeOptions(reader));
  throwUndelivered(reader);
  if (result.ok) {
    const { source, ...known } = result;
    return { ...known, source: await withSilence(source, reader), damage: undefined, holes: null };
  }
  if (result.code === "PROBE_TIMEOUT") {
    throw new EncodeError({ code: "SOURCE_UNREADABLE", message: result.message, retryable: true });
  }
  throw new EncodeError({ ...result, retryable: false });
}

/** Not knowing costs some level; half a minute is what knowing may cost. */
const SILENCE_TIMEOUT_MS = 30_000;

async function withSilence(source: SourceProbe, reader: Reader): Promise<SourceProbe> {
  const { ffmpegPath } = reader.options.binaries;
  const options = { ffmpegPath, url: reader.proxy.url, timeoutMs: SILENCE_TIMEOUT_MS, signal: reader.signal };
  const audio = await findSilence(source.audio, source.durationSeconds, options);
  throwUndelivered(reader);
  return { ...source, audio };
}

function throwUndelivered({ proxy }: Pick<Reader, "proxy">): void {
  const failure = proxy.failure();
  if (failure) throw failure;
}

/** Looks once for what the source has lost, and tells it. @returns whether to encode again, around it */
export async function faceDamage(job: SourceJob, dialect: Dialect): Promise<boolean> {
  if (job.damage !== undefined) return false;
  const { options, source, length, proxy, signal } = job;
  const { ffmpegPath } = options.binaries;
  job.damage = await findDamage({ source, length, ffmpegPath, dialect, url: proxy.url, signal });
  throwUndelivered(job);
  if (!job.damage || job.damage.damage.length === 0) return false;
  const { damage, pictureShare } = job.damage;
  if (pictureShare < LEAST_PICTURE_SHARE) throw new EncodeError(UNDECODABLE);
  options.log.warn({ damage, pictureShare }, "some of the original cannot be decoded");
  await options.onDamage?.({ ...source, damage });
  job.source = withoutLostSound(source, job.damage);
  const holdLastSeconds = length === "guessed" ? 0 : heldSeconds(source, job.damage);
  if (damage.some(({ what }) => what === "picture")) {
    job.holes = { holdLastSeconds, endSeconds: job.damage.trackEndSeconds };
  }
  return job.source !== source || job.holes !== null;
}

/** Sound that ends before the source says is no reason to refuse its pictures; whoever waits for it must know. */
export async function tellShortSound(
  { options, source, damage: found }: SourceJob,
  evidence: EncodeEvidence,
): Promise<void> {
  const missing = missingSound(evidence);
  if (missing === null || found?.damage.some(({ what }) => what === "sound")) return;
  options.log.warn({ missing }, "the sound ends before the original says");
  await options.onDamage?.({ ...source, damage: [...(found?.damage ?? []), missing] });
}

/** Of an output's frames. A variable rate leaves some out on purpose. */
const MOST_DROPPED = 0.02;

/**
 * Where the source goes on at a higher rate than it began with, frames were left out: measured whole, it is planned once
 * more. Before anything of it was told. @returns null where the plan holds
 */
export async function planAgain(
  job: SourceJob,
  { droppedFrames, renditions }: RunResult,
): Promise<RenditionPlan[] | null> {
  const frames = renditions[0]?.made?.file.frames ?? Number.POSITIVE_INFINITY;
  if (!job.isSampled || droppedFrames <= Math.max(2, frames * MOST_DROPPED)) return null;
  job.isSampled = false;
  const { options, source } = job;
  const whole = await probeSource(probeOptions(job), "whole");
  if (!whole.ok) return null;
  const { fps, vfr } = whole.source;
  if (fps.num * source.fps.den === fps.den * source.fps.num && vfr === source.vfr) return null;
  options.log.warn({ droppedFrames, fps, vfr }, "the source's rate rises after its beginning; encoding again");
  job.source = { ...source, fps, vfr };
  const { damage = [] } = job.damage ?? {};
  const told = damage.length > 0 ? { ...job.source, damage } : job.source;
  options.onProbe(told);
  return await planOf(options, told);
}
