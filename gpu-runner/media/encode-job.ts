/**
 * One job from original to uploaded renditions: probe, plan, encode, verify. The one entry of the media core; it knows
 * neither queues nor leases nor stores, which come in as functions.
 */
import { rm } from "node:fs/promises";
import type { Quality, RenditionPlan } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import type { Binaries } from "./binaries.ts";
import { nextBatch, progressOver } from "./encode-batch.ts";
import type { PictureGraph } from "./encode-command.ts";
import { EncodeCourse, type EncodeLog } from "./encode-course.ts";
import { EncodeError, type EncodeFailure, toFailure } from "./encode-failure.ts";
import { type EncodeProgress, progressOf } from "./encode-progress.ts";
import { type MadeRendition, type RenditionSink, type RunResult, runEncode } from "./encode-run.ts";
import type { EncoderChoice } from "./encoder-probe.ts";
import { writeHdrCube } from "./hdr-cube-file.ts";
import { faceDamage, planAgain, planOf, readSource, type SourceJob, tellShortSound } from "./job-source.ts";
import { makeSocketFolder } from "./socket-folder.ts";
import { startOfPicture } from "./sound-graph.ts";
import { openSourceProxy, type SourceProxy } from "./source-proxy.ts";
import type { SourceLocation } from "./source-window.ts";
import {
  decodeErrorIn,
  type EncodeEvidence,
  missingFramesAllowed,
  statedSoundSeconds,
  verifyEncode,
} from "./verify.ts";

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
  /** Asked once in a job at most, after the encoder refused it. May reject: then no encoder may be used. */
  probeEncoder?: () => Promise<EncoderChoice>;
  binaries: Binaries;
  onProbe: (source: SourceProbe) => void;
  /** Before any rendition of a source with damage is told of: the source again, now with its damage. */
  onDamage?: (source: SourceProbe) => Promise<void>;
  /** As soon as a rendition is proven whole, while others may still have to be encoded. */
  onRendition?: (rendition: EncodedRendition) => void;
  /** NVENC took no more than so many renditions at once. */
  onFewerOutputs?: (outputsAtOnce: number) => void;
  /** About twice a second. */
  onProgress: (progress: EncodeProgress) => void;
  /** With every progress, and at the end whatever it is. */
  onCounts?: (counts: EncodeCounts) => void;
  /** Aborting kills ffmpeg at once; the outcome is then ABORTED. */
  signal: AbortSignal;
  log: EncodeLog;
  probeTimeoutMs?: number;
  /** Longest time in which ffmpeg does nothing, though it waits for no store. */
  stallTimeoutMs?: number;
};

/** What the job has cost so far. Only ever grows. */
export type EncodeCounts = {
  /** Read from the store, whatever became of it. */
  sourceBytes: number;
  sourceRetries: number;
  freshUrls: number;
  ffmpegRuns: number;
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
const MAX_OVERFLOWS = 3;

/** Never rejects: whatever goes wrong is an outcome. Leaves no process, no socket and no file behind. */
export async function encodeJob(options: EncodeJobOptions): Promise<EncodeOutcome> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  let proxy: SourceProxy | null = null;
  let socketFolder: string | null = null;
  const runs = { ffmpegRuns: 0 };
  try {
    signal.throwIfAborted();
    proxy = await openSourceProxy({
      location: await options.source.url(),
      freshUrl: options.source.url,
      onFailure: (failure) => stop.abort(failure),
    });
    socketFolder = await makeSocketFolder();
    const known = await readSource({ options, proxy, signal });
    const { source } = known;
    options.onProbe(source);
    const plans = await planOf(options, source);
    const hdrCube = source.hdr === null ? null : await writeHdrCube(source.hdr, socketFolder);
    const job = { ...known, options, proxy, signal, socketFolder, hdrCube, runs };
    return { ok: true, renditions: await encodeAll(job, plans) };
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
    if (proxy) options.onCounts?.(countsOf(proxy, runs));
    if (socketFolder) await rm(socketFolder, { recursive: true, force: true });
  }
}

type Job = SourceJob & {
  options: EncodeJobOptions;
  socketFolder: string;
  hdrCube: string | null;
  runs: { ffmpegRuns: number };
};

/** Runs ffmpeg until all is made: by batches, and again for what a run showed to need a larger moov or another way. */
async function encodeAll(job: Job, plans: readonly RenditionPlan[]): Promise<EncodedRendition[]> {
  const { options, source } = job;
  const done: EncodedRendition[] = [];
  const reserveBytes = new Map<Quality, number>();
  const attempts = new Map<Quality, number>();
  const overflows = new Map<Quality, number>();
  const { url: sourceUrl } = job.proxy;
  const course = new EncodeCourse(encoderFor(options, plans), { ...options, source, sourceUrl, signal: job.signal });
  let left = plans;
  while (left.length > 0) {
    const { encoder } = course;
    const batch = nextBatch(left, encoder);
    const graph = await course.graphFor(batch);
    for (const { quality } of batch) attempts.set(quality, (attempts.get(quality) ?? 0) + 1);
    const run = { all: plans, done, batch, encoder, graph, attempts, reserveBytes };
    const result = await runOnce(job, run).catch((error: unknown) => stalledOnCard(error, graph));
    if (await mustEncodeAgain(job, course, { result, graph, encoder, outputs: batch.length })) continue;
    const planned: readonly RenditionPlan[] | null = await planAgain(job, result);
    if (planned) {
      left = planned;
      continue;
    }
    course.succeeded(result.renditions);
    done.push(...tellMade(job, result));
    for (const { plan, overflow } of result.renditions) {
      if (overflow) makeRoom(plan, overflow.neededBytes, reserveBytes, overflows, options.log);
    }
    left = left.filter(({ quality }) => !done.some((made) => made.quality === quality));
  }
  return done;
}

type Try = { result: RunResult; graph: PictureGraph; encoder: EncoderChoice; outputs: number };

/** Whether another way is to be tried, and which: job and course know then. Throws where none is left. */
async function mustEncodeAgain(job: Job, course: EncodeCourse, { result, ...way }: Try): Promise<boolean> {
  const { graph, encoder, outputs } = way;
  // ffmpeg takes a source that breaks off for one that ended, and ends well.
  const undelivered = job.proxy.failure();
  if (undelivered) throw undelivered;
  if (result.decodeErrors > 0 && graph === "gpu") {
    course.leaveGpuGraph(outputs, "some of the original does not decode");
    return true;
  }
  if (result.decodeErrors > 0 && (await faceDamage(job, encoder.dialect))) return true;
  if (result.exitCode !== 0 && encoder.kind === "nvenc" && !result.streamed) {
    await course.refused({ graph, outputs, stderr: result.stderrTail.join("\n") });
    return true;
  }
  const evidence = evidenceOf(result, job);
  // The CPU's graph is always left to try, and judges for itself.
  const failure = verifyEncode(graph === "gpu" ? { ...evidence, length: "known" } : evidence);
  if (failure !== null && graph === "gpu") {
    course.leaveGpuGraph(outputs, failure.message);
    return true;
  }
  // Some formats are read past what is broken without a word. A file that ends where it says was not cut off.
  if (failure?.code === "TRUNCATED" && job.endsAsStated && (await faceDamage(job, encoder.dialect))) return true;
  if (failure) throw new EncodeError(failure);
  await tellShortSound(job, evidence);
  return false;
}

function tellMade({ options, proxy, runs }: Job, result: RunResult): EncodedRendition[] {
  warnOfGaps(result, options.log);
  options.onCounts?.(countsOf(proxy, runs));
  const renditions = result.renditions.flatMap(({ plan, made }) => (made ? encoded(plan, made.file) : []));
  for (const rendition of renditions) options.onRendition?.(rendition);
  return renditions;
}

/** Of what is not known to be as it should, and yet no reason to refuse the renditions. */
function warnOfGaps({ stderrTail, renditions }: RunResult, log: EncodeLog): void {
  const decodeError = decodeErrorIn(stderrTail);
  if (decodeError !== null) log.warn({ decodeError }, "some of the original could not be decoded and is held over");
  for (const { plan, made } of renditions) {
    const { expectedFrames } = plan;
    if (made && made.file.frames < expectedFrames - missingFramesAllowed(expectedFrames)) {
      log.warn(
        { quality: plan.quality, frames: made.file.frames, expectedFrames },
        "fewer frames came than were expected",
      );
    }
    if (!made?.partlyProven) continue;
    log.warn({ quality: plan.quality }, "a group of pictures was too large to keep and was not decoded");
  }
}

/** A card that hangs may still encode what the CPU decodes. Throws whatever else it is. */
function stalledOnCard(error: unknown, graph: PictureGraph): RunResult {
  if (graph !== "gpu" || !(error instanceof EncodeError) || error.code !== "ENCODER_STALLED") throw error;
  return {
    exitCode: null,
    stderrTail: [error.message],
    decodeErrors: 0,
    droppedFrames: 0,
    streamed: true,
    renditions: [],
  };
}

function evidenceOf({ exitCode, stderrTail, renditions }: RunResult, { source, damage, length }: Job): EncodeEvidence {
  return {
    exitCode,
    stderrTail,
    delaySeconds: startOfPicture(source) ?? 0,
    length,
    damaged: (damage?.damage.length ?? 0) > 0,
    soundSeconds: statedSoundSeconds(source),
    renditions: renditions
      .filter(({ overflow }) => overflow === null)
      .map(({ plan, made }) => ({ plan, made: made?.evidence ?? null })),
  };
}

function makeRoom(
  { quality }: RenditionPlan,
  neededBytes: number,
  reserveBytes: Map<Quality, number>,
  overflows: Map<Quality, number>,
  log: EncodeLog,
): void {
  const times = (overflows.get(quality) ?? 0) + 1;
  overflows.set(quality, times);
  if (times >= MAX_OVERFLOWS) {
    const message = "The renditions' tables outgrew every room made for them.";
    throw new EncodeError({ code: "ENCODER_FAILED", message, retryable: false });
  }
  reserveBytes.set(quality, neededBytes * 2);
  log.warn({ quality }, "tables outgrew their room; encoding again");
}

type Run = {
  all: readonly RenditionPlan[];
  done: readonly EncodedRendition[];
  batch: readonly RenditionPlan[];
  encoder: EncoderChoice;
  graph: PictureGraph;
  attempts: ReadonlyMap<Quality, number>;
  reserveBytes: ReadonlyMap<Quality, number>;
};

function runOnce(job: Job, run: Run): Promise<RunResult> {
  const { options, proxy, socketFolder, hdrCube, source, holes, signal, runs } = job;
  runs.ffmpegRuns++;
  return runEncode({
    source,
    plans: run.batch,
    sinks: run.batch.map((plan) => options.sink(plan, run.attempts.get(plan.quality) ?? 1)),
    reserveBytes: run.reserveBytes,
    encoder: run.encoder,
    graph: run.graph,
    binaries: options.binaries,
    sourceUrl: proxy.url,
    socketFolder,
    hdrCube,
    holes,
    reading: proxy.reading,
    stallTimeoutMs: options.stallTimeoutMs ?? 120_000,
    onProgress: (progress) => {
      options.onCounts?.(countsOf(proxy, runs));
      options.onProgress(progressOf(run.all, progressOver(run.all, run.done, run.batch, progress)));
    },
    signal,
  });
}

function countsOf(proxy: SourceProxy, { ffmpegRuns }: Job["runs"]): EncodeCounts {
  const { bytes, retries, freshUrls } = proxy.counts();
  return { sourceBytes: bytes, sourceRetries: retries, freshUrls, ffmpegRuns };
}

function encoderFor(options: EncodeJobOptions, plans: readonly RenditionPlan[]): EncoderChoice {
  const tiny = plans.some((plan) => plan.width < NVENC_MIN_PX.width || plan.height < NVENC_MIN_PX.height);
  if (options.encoder.kind !== "nvenc" || !tiny) return options.encoder;
  const { dialect } = options.encoder;
  return { kind: "x264", dialect, reason: "libx264: the picture is too small for NVENC" };
}

function encoded(plan: RenditionPlan, file: MadeRendition["file"]): EncodedRendition {
  const { quality, width, height, partSizeBytes } = plan;
  return { quality, width, height, partSizeBytes, ...file };
}
