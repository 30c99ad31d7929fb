/**
 * One job, from a claim to its last acknowledged rendition: claim, ack the queue's message, encode, upload, report. It
 * ends by reporting done or failed, by releasing the job, or in silence when the lease is no longer ours. Whatever
 * happens, no socket, process or request of the job is left when it resolves.
 */
import { performance } from "node:perf_hooks";
import type { Logger } from "pino";
import { FailureCode } from "../../schemas/failure.ts";
import type { Quality, RenditionPlan } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import type { RunnerRefusal, TranscodeMessage } from "../../schemas/runner-protocol.ts";
import type { Binaries } from "../media/binaries.ts";
import { type EncodeCounts, type EncodedRendition, encodeJob } from "../media/encode-job.ts";
import type { EncodeProgress } from "../media/encode-progress.ts";
import type { EncoderChoice } from "../media/encoder-probe.ts";
import { createJobApi, type JobApi, jobUrl } from "./job-api.ts";
import { JobFailure, LeaseLost, ShuttingDown, TokenRefused } from "./job-failure.ts";
import { createJobSocket, type Grant, type JobSocket } from "./job-socket.ts";
import type { JobTiming } from "./job-timing.ts";
import { createPartUploader, type PartFact, type PartUploader, type RenditionUpload } from "./part-upload.ts";
import { Unreachable } from "./socket-connection.ts";

export type RunJobOptions = {
  message: TranscodeMessage;
  /** Of the queue's message. */
  settle: { ack(): Promise<void>; retry(delaySeconds: number): Promise<void> };
  api: { url: string; token: string };
  runnerId: string;
  encoder: EncoderChoice;
  /** After the encoder refused the job. */
  probeEncoder?: () => Promise<EncoderChoice>;
  /** The encoder took fewer renditions at once than it was thought to. */
  onFewerOutputs?: (outputsAtOnce: number) => void;
  binaries: Binaries;
  timing: JobTiming;
  /** Aborted with ShuttingDown. */
  shutdown: AbortSignal;
  redact: (text: string) => string;
  onProgress: (progress: EncodeProgress) => void;
  watch?: JobWatch;
  log: Logger;
};

/** What a job tells whoever looks on, while it runs. */
export type JobWatch = {
  granted(lease: { leaseMs: number; sinceRenewalMs: () => number }): void;
  progress(progress: EncodeProgress): void;
  counts(counts: EncodeCounts): void;
  part(fact: PartFact): void;
};

export type JobOutcome =
  | { type: "done"; renditions: number }
  | { type: "failed"; code: FailureCode; message: string; retryable: boolean }
  | { type: "refused"; reason: RunnerRefusal }
  /** No claim was settled; the message comes back by itself. */
  | { type: "unreachable"; message: string }
  /** The API takes the runner's token no longer. */
  | { type: "token-refused"; message: string }
  | { type: "lost"; reason: LeaseLost["reason"]; message: string }
  | { type: "released" };

const notReadyRetrySeconds = 15;
const maxMessageLength = 2_000;

export async function runJob(options: RunJobOptions): Promise<JobOutcome> {
  const { message, api, timing, log } = options;
  const socket = createJobSocket({
    url: jobUrl(api.url, message.jobId, message.fileId, ""),
    token: api.token,
    log,
    ...timing.socket,
    random: Math.random,
    nowMs: () => performance.now(),
  });
  let settled: Promise<void> = Promise.resolve();
  const settle = (how: Promise<void>) => {
    settled = how.catch((error: unknown) => log.warn({ err: error }, "the queue's message could not be settled"));
  };
  try {
    const answer = await socket.claim(
      {
        generation: message.generation,
        runnerId: options.runnerId,
        encoder: options.encoder.kind,
        capabilities: {
          ffmpegVersion: options.binaries.version.slice(0, 128),
          encoderReason: options.encoder.reason.slice(0, 500),
        },
      },
      options.shutdown,
    );
    if (answer.type === "refused") {
      log.info({ reason: answer.reason }, "claim refused");
      settle(answer.reason === "not-ready" ? options.settle.retry(notReadyRetrySeconds) : options.settle.ack());
      return { type: "refused", reason: answer.reason };
    }
    log.info({ leaseMs: answer.leaseMs, archived: answer.archived }, "claimed");
    options.watch?.granted({ leaseMs: answer.leaseMs, sinceRenewalMs: () => socket.sinceRenewalMs() });
    settle(options.settle.ack());
    return await new GrantedJob(answer, socket, options).run();
  } catch (error) {
    if (error instanceof Unreachable && error.status === 401) {
      // Others may have it at once.
      settle(options.settle.retry(0));
      return { type: "token-refused", message: options.redact(error.message) };
    }
    if (error instanceof Unreachable) return { type: "unreachable", message: options.redact(error.message) };
    if (error instanceof LeaseLost) return { type: "lost", reason: error.reason, message: error.message };
    if (!(error instanceof ShuttingDown)) throw error;
    settle(options.settle.retry(0));
    return { type: "released" };
  } finally {
    socket.close();
    await settled;
  }
}

class GrantedJob {
  private readonly grant: Grant;
  private readonly socket: JobSocket;
  private readonly options: RunJobOptions;
  private readonly api: JobApi;
  private readonly stop = new AbortController();
  private readonly signal: AbortSignal;
  private readonly uploader: PartUploader;
  private readonly uploads = new Map<Quality, RenditionUpload>();
  private readonly reports: Promise<void>[] = [];
  private sourceBytes = 0;

  constructor(grant: Grant, socket: JobSocket, options: RunJobOptions) {
    const { api, message, timing } = options;
    this.grant = grant;
    this.socket = socket;
    this.options = options;
    this.signal = AbortSignal.any([socket.lost, options.shutdown, this.stop.signal]);
    this.api = createJobApi({
      apiUrl: api.url,
      token: api.token,
      fileId: message.fileId,
      jobId: message.jobId,
      ...timing.api,
      random: Math.random,
    });
    this.uploader = createPartUploader({
      grant: (quality, partSizeBytes, numbers) =>
        this.underLease(this.api.parts({ lease: grant.lease, quality, partSizeBytes, numbers }, this.signal)),
      signal: this.signal,
      onPart: (fact) => options.watch?.part(fact),
      ...timing.parts,
      random: Math.random,
      nowMs: Date.now,
    });
  }

  async run(): Promise<JobOutcome> {
    try {
      const renditions = await this.encode();
      await Promise.all(this.reports);
      return { type: "done", renditions: renditions.length };
    } catch (error) {
      // What is whole already must be told before the failure ends the lease.
      await Promise.race([Promise.allSettled(this.reports), whenAborted(this.signal)]);
      return await this.end(this.signal.aborted ? this.signal.reason : error);
    } finally {
      this.stop.abort(new ShuttingDown("the job is over"));
      await this.uploader.settled();
    }
  }

  private async encode(): Promise<EncodedRendition[]> {
    const { options, signal } = this;
    const outcome = await encodeJob({
      source: { url: this.sourceUrls() },
      plan: (source) => this.askLadder(source),
      skip: this.grant.archived,
      sink: (plan) => this.openUpload(plan),
      encoder: options.encoder,
      ...(options.probeEncoder === undefined ? {} : { probeEncoder: options.probeEncoder }),
      binaries: options.binaries,
      onCounts: (counts) => {
        this.sourceBytes = counts.sourceBytes;
        this.socket.noteRead(counts.sourceBytes);
        options.watch?.counts(counts);
      },
      onProbe: (source) => options.log.info({ source }, "probed"),
      onDamage: async (source) => void (await this.askLadder(source)),
      onRendition: (rendition) => this.beginReport(rendition),
      ...(options.onFewerOutputs === undefined ? {} : { onFewerOutputs: options.onFewerOutputs }),
      onProgress: (progress) => this.tellProgress(progress),
      signal,
      log: {
        info: (fields, text) => options.log.info(fields, text),
        warn: (fields, text) => options.log.warn(fields, text),
        error: (fields, text) => options.log.error(fields, text),
      },
    });
    signal.throwIfAborted();
    if (outcome.ok) return outcome.renditions;
    const { code, message, retryable } = outcome.failure;
    throw new JobFailure(reportedCode(code), message, { retryable });
  }

  /** The grant's URL first; asked again, it was refused, and a fresh one is fetched. */
  private sourceUrls() {
    let first = true;
    return async () => {
      const granted = first ? this.grant.source : await this.underLease(this.api.source(this.grant.lease, this.signal));
      first = false;
      return granted;
    };
  }

  private async askLadder(source: SourceProbe): Promise<RenditionPlan[]> {
    const answer = await this.socket.request({ type: "probed", source });
    if (answer.type === "ladder") return answer.renditions;
    throw new JobFailure("RUNNER_FAILED", `The object answered the probe with ${answer.type}, not with a ladder.`);
  }

  private openUpload(plan: RenditionPlan): RenditionUpload {
    const upload = this.uploader.open(plan.quality, plan.partSizeBytes);
    this.uploads.set(plan.quality, upload);
    return upload;
  }

  private beginReport(rendition: EncodedRendition): void {
    const report = this.report(rendition);
    this.reports.push(report);
    // The rest need not be encoded when one cannot be told.
    report.catch((error: unknown) => this.stop.abort(error));
  }

  private async report(rendition: EncodedRendition): Promise<void> {
    const { quality, parts: count, ...measured } = rendition;
    const upload = this.uploads.get(quality);
    if (upload === undefined) throw new JobFailure("RUNNER_FAILED", `${quality} was encoded but never sent.`);
    const { parts, composite } = await upload.finish(count);
    await this.socket.request({
      type: "uploaded",
      quality,
      ...measured,
      composite,
      parts,
      sourceBytes: this.sourceBytes,
    });
    this.options.log.info({ quality, ...measured, parts: parts.length }, "uploaded");
  }

  private tellProgress(progress: EncodeProgress): void {
    const renditions = progress.renditions.map((rendition) => ({
      ...rendition,
      uploadedBytes: this.uploader.uploadedBytes(rendition.quality),
    }));
    const told = { ...progress, renditions };
    this.socket.tell({ type: "progress", ...told, sourceBytes: this.sourceBytes });
    this.options.watch?.progress(told);
    this.options.onProgress(told);
  }

  private async end(cause: unknown): Promise<JobOutcome> {
    const { options, socket } = this;
    if (cause instanceof LeaseLost) {
      return { type: "lost", reason: cause.reason, message: options.redact(cause.message) };
    }
    if (cause instanceof TokenRefused) return { type: "token-refused", message: options.redact(cause.message) };
    if (cause instanceof ShuttingDown) {
      await withinMs(
        options.timing.releaseMs,
        socket.request({ type: "release", reason: cause.message, sourceBytes: this.sourceBytes }),
      );
      return { type: "released" };
    }
    const failure =
      cause instanceof JobFailure
        ? cause
        : new JobFailure(
            "RUNNER_FAILED",
            cause instanceof Error ? `The runner failed (${cause.name}).` : "The runner failed.",
          );
    if (!(cause instanceof JobFailure)) options.log.error({ err: cause }, "the job failed unexpectedly");
    const { code, retryable } = failure;
    const message = options.redact(failure.message).slice(0, maxMessageLength);
    // Said again after a drop for as long as the lease lives; then its end says the same.
    const told = socket.request({ type: "failed", code, message, retryable, sourceBytes: this.sourceBytes });
    await Promise.race([told.catch(() => undefined), whenAborted(options.shutdown)]);
    return { type: "failed", code, message, retryable };
  }

  /** An answer that the lease or the token is gone ends the job, whichever request it came to. */
  private async underLease<Answer>(request: Promise<Answer>): Promise<Answer> {
    try {
      return await request;
    } catch (error) {
      if (error instanceof LeaseLost || error instanceof TokenRefused) this.stop.abort(error);
      throw error;
    }
  }
}

/** The media core's own codes, in the words that everyone knows. */
function reportedCode(code: string): FailureCode {
  if (code === "SOURCE_CHANGED") return "ETAG_MISMATCH";
  return FailureCode.safeParse(code).data ?? "ENCODER_FAILED";
}

/** Best effort: resolves when the promise settles or the time is over. */
async function withinMs(limitMs: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs);
  });
  await Promise.race([promise.catch(() => undefined), limit]);
  clearTimeout(timer);
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
