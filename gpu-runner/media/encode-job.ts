/**
 * One job from original to uploaded renditions: probe, plan, encode, verify. The one entry of the media core; it knows
 * neither queues nor leases nor stores, which come in as functions.
 */
import { rm } from "node:fs/promises";
import type { Quality, RenditionPlan } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import type { Binaries } from "./binaries.ts";
import { EncodeError, type EncodeFailure, toFailure } from "./encode-failure.ts";
import { type MadeRendition, type RenditionSink, type RunProgress, type RunResult, runEncode } from "./encode-run.ts";
import { type EncoderChoice, explainNvencFailure } from "./encoder-probe.ts";
import { probeSource } from "./probe.ts";
import { makeSocketFolder } from "./socket-folder.ts";
import { openSourceProxy, type SourceProxy } from "./source-proxy.ts";
import type { SourceLocation } from "./source-window.ts";
import { statedSoundSeconds, verifyEncode } from "./verify.ts";

export type EncodeJobOptions = {
  /** Asked for once at the start, and again whenever the URL at hand is refused. */
  source: { url: () => Promise<SourceLocation> };
  /** The decision which renditions to make. */
  plan: (source: SourceProbe) => Promise<RenditionPlan[]>;
  /** Qualities that are safe already from an earlier attempt. */
  skip: readonly Quality[];
  /** Where a rendition's parts go. With `attempt` above 1 all that came before is void: start a new upload. */
  sink: (plan: RenditionPlan, attempt: number) => RenditionSink;
  encoder: EncoderChoice;
  binaries: Binaries;
  onProbe: (source: SourceProbe) => void;
  /** About twice a second. */
  onProgress: (progress: EncodeProgress) => void;
  /** Aborting kills ffmpeg at once; the outcome is then ABORTED. */
  signal: AbortSignal;
  log: EncodeLog;
  probeTimeoutMs?: number;
  /** Longest time in which ffmpeg does nothing, though it waits for no store. */
  stallTimeoutMs?: number;
};

export type EncodeLog = Record<"info" | "warn" | "error", (fields: Record<string, unknown>, message: string) => void>;

export type EncodeProgress = {
  percent: number;
  fps: number;
  speed: number;
  etaSeconds: number | null;
  renditions: { quality: Quality; percent: number; uploadedBytes: number }[];
};

export type EncodedRendition = {
  quality: Quality;
  width: number;
  height: number;
  frames: number;
  durationSeconds: number;
  sizeBytes: number;
  partSizeBytes: number;
  parts: number;
};

export type EncodeOutcome = { ok: true; renditions: EncodedRendition[] } | { ok: false; failure: EncodeFailure };

/** NVENC refuses pictures below this. */
const NVENC_MIN_PX = { width: 146, height: 50 };
const MAX_ATTEMPTS = 3;

/** Never rejects: whatever goes wrong is an outcome. Leaves no process, no socket and no file behind. */
export async function encodeJob(options: EncodeJobOptions): Promise<EncodeOutcome> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  let proxy: SourceProxy | null = null;
  let socketFolder: string | null = null;
  try {
    signal.throwIfAborted();
    proxy = await openSourceProxy({
      location: await options.source.url(),
      freshUrl: options.source.url,
      onFailure: (failure) => stop.abort(failure),
    });
    socketFolder = await makeSocketFolder();
    const source = await probe(options, proxy, signal);
    options.onProbe(source);
    const plans = (await options.plan(source)).filter((plan) => !options.skip.includes(plan.quality));
    const renditions = await encodeAll({ options, proxy, socketFolder, source, signal }, plans);
    return { ok: true, renditions };
  } catch (error) {
    if (options.signal.aborted) {
      return { ok: false, failure: { code: "ABORTED", message: "The job was stopped.", retryable: true } };
    }
    // What the source did explains whatever else followed from it.
    const cause = proxy?.failure() ?? error;
    const failure = toFailure(cause);
    if (failure.code === "RUNNER_FAILED") options.log.error({ err: error }, "encode failed unexpectedly");
    return { ok: false, failure };
  } finally {
    await proxy?.close();
    if (socketFolder) await rm(socketFolder, { recursive: true, force: true });
  }
}

async function probe(options: EncodeJobOptions, proxy: SourceProxy, signal: AbortSignal): Promise<SourceProbe> {
  const result = await probeSource({
    ffprobePath: options.binaries.ffprobePath,
    url: proxy.url,
    timeoutMs: options.probeTimeoutMs ?? 120_000,
    signal,
  });
  const failure = proxy.failure();
  if (failure) throw failure;
  if (result.ok) return result.source;
  if (result.code === "PROBE_TIMEOUT") {
    throw new EncodeError({ code: "SOURCE_UNREADABLE", message: result.message, retryable: true });
  }
  throw new EncodeError({ ...result, retryable: false });
}

type Job = {
  options: EncodeJobOptions;
  proxy: SourceProxy;
  socketFolder: string;
  source: SourceProbe;
  signal: AbortSignal;
};

/** Runs ffmpeg, and again for what a run showed to need another way: a larger moov, or another encoder. */
async function encodeAll(job: Job, plans: readonly RenditionPlan[]): Promise<EncodedRendition[]> {
  const done: EncodedRendition[] = [];
  const reserveBytes = new Map<Quality, number>();
  let encoder = encoderFor(job.options, plans);
  let left = plans;
  for (let attempt = 1; left.length > 0; attempt++) {
    if (attempt > MAX_ATTEMPTS) throw moovNeverFits();
    const result = await runOnce(job, left, encoder, attempt, reserveBytes);
    if (result.exitCode !== 0 && encoder.kind === "nvenc" && !result.streamed) {
      const reason = explainNvencFailure(result.stderrTail.join("\n"));
      job.options.log.warn({ reason }, "NVENC refused this job; encoding it on the CPU");
      encoder = { ...encoder, kind: "x264", reason };
      continue;
    }
    const failure = verifyEncode({
      exitCode: result.exitCode,
      stderrTail: result.stderrTail,
      soundSeconds: statedSoundSeconds(job.source),
      renditions: result.renditions
        .filter(({ overflow }) => overflow === null)
        .map(({ plan, made }) => ({ plan, made: made?.evidence ?? null })),
    });
    if (failure) throw new EncodeError(failure);
    for (const { plan, made, overflow } of result.renditions) {
      if (made) done.push(encoded(plan, made.file));
      if (made?.partlyProven) {
        job.options.log.warn(
          { quality: plan.quality },
          "a group of pictures was too large to keep and was not decoded",
        );
      }
      if (overflow) reserveBytes.set(plan.quality, overflow.neededBytes * 2);
    }
    left = result.renditions.filter(({ overflow }) => overflow !== null).map(({ plan }) => plan);
    if (left.length > 0) {
      job.options.log.warn(
        { qualities: left.map((plan) => plan.quality) },
        "tables outgrew their room; encoding again",
      );
    }
  }
  return done;
}

function runOnce(
  { options, proxy, socketFolder, source, signal }: Job,
  plans: readonly RenditionPlan[],
  encoder: EncoderChoice,
  attempt: number,
  reserveBytes: ReadonlyMap<Quality, number>,
): Promise<RunResult> {
  return runEncode({
    source,
    plans,
    sinks: plans.map((plan) => options.sink(plan, attempt)),
    reserveBytes,
    encoder,
    binaries: options.binaries,
    sourceUrl: proxy.url,
    socketFolder,
    reading: proxy.reading,
    stallTimeoutMs: options.stallTimeoutMs ?? 120_000,
    onProgress: (progress) => options.onProgress(progressOf(plans, progress)),
    signal,
  });
}

function encoderFor(options: EncodeJobOptions, plans: readonly RenditionPlan[]): EncoderChoice {
  const tiny = plans.some((plan) => plan.width < NVENC_MIN_PX.width || plan.height < NVENC_MIN_PX.height);
  if (options.encoder.kind !== "nvenc" || !tiny) return options.encoder;
  return { ...options.encoder, kind: "x264", reason: "libx264: the picture is too small for NVENC" };
}

function moovNeverFits(): EncodeError {
  const message = "The renditions' tables outgrew every room made for them.";
  return new EncodeError({ code: "ENCODER_FAILED", message, retryable: false });
}

function encoded(plan: RenditionPlan, file: MadeRendition["file"]): EncodedRendition {
  const { quality, width, height, partSizeBytes } = plan;
  return { quality, width, height, partSizeBytes, ...file };
}

export function progressOf(plans: readonly RenditionPlan[], progress: RunProgress): EncodeProgress {
  const percentOf = (frames: number, plan: RenditionPlan) => Math.min(100, (100 * frames) / plan.expectedFrames);
  const first = plans[0];
  if (!first) return { percent: 100, fps: 0, speed: 0, etaSeconds: 0, renditions: [] };
  const framesLeft = Math.max(0, first.expectedFrames - progress.frame);
  const renditions = plans.map((plan, i) => ({
    quality: plan.quality,
    percent: percentOf(progress.renditions[i]?.frames ?? 0, plan),
    uploadedBytes: progress.renditions[i]?.uploadedBytes ?? 0,
  }));
  return {
    // Not ffmpeg's own frame count, which runs ahead of what has come out by a fragment.
    percent: renditions.reduce((sum, { percent }) => sum + percent, 0) / renditions.length,
    fps: progress.fps,
    speed: progress.speed,
    etaSeconds: progress.fps > 0 ? Math.round(framesLeft / progress.fps) : null,
    renditions,
  };
}
