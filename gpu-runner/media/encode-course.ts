/**
 * The way in which a job encodes: with which encoder, on the card or through the CPU's graph. Begins with what the runner
 * found, and changes with what the job's runs show.
 */
import type { RenditionPlan } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import type { Binaries } from "./binaries.ts";
import { afterRefusal, chooseGraph, kindOf, type RefusedRun } from "./encode-batch.ts";
import type { PictureGraph } from "./encode-command.ts";
import { aborted, EncodeError } from "./encode-failure.ts";
import { type EncoderChoice, explainNvencFailure } from "./encoder-probe.ts";

export type EncodeLog = Record<"info" | "warn" | "error", (fields: Record<string, unknown>, message: string) => void>;

export type EncodeCourseOptions = {
  source: SourceProbe;
  sourceUrl: string;
  binaries: Binaries;
  /** Asked once in a job at most, after the encoder refused it. May reject: then no encoder may be used. */
  probeEncoder?: () => Promise<EncoderChoice>;
  /** Told once a run has ended well with fewer renditions than NVENC was thought to take. */
  onFewerOutputs?: (outputsAtOnce: number) => void;
  signal: AbortSignal;
  log: EncodeLog;
};

export class EncodeCourse {
  encoder: EncoderChoice;
  private readonly options: EncodeCourseOptions;
  private probedAgain = false;
  private fewerOutputs: number | null = null;
  /** The run that the card's graph spoilt, by the kind that it was proven for. */
  private spoilt: { kind: string; why: string } | null = null;

  constructor(encoder: EncoderChoice, options: EncodeCourseOptions) {
    this.encoder = encoder;
    this.options = options;
  }

  async graphFor(plans: readonly RenditionPlan[]): Promise<PictureGraph> {
    // Not again in this job: whether it was the source's fault is for the CPU's graph to say.
    if (this.spoilt !== null) return "cpu";
    const { log } = this.options;
    const { encoder } = this;
    return await chooseGraph({ ...this.options, plans, encoder, log: (fields, message) => log.info(fields, message) });
  }

  /** A run failed on the card in spite of the proof: what is left goes through the CPU's graph. */
  leaveGpuGraph(outputs: number, why: string): void {
    this.spoilt = { kind: kindOf(this.options.source, outputs), why };
    this.options.log.warn({ why }, "the card's graph failed; encoding again through the CPU's");
  }

  /** NVENC ended a run before anything came out of it. Throws where no way is left. */
  async refused(run: Pick<RefusedRun, "graph" | "outputs" | "stderr">): Promise<void> {
    const next = afterRefusal({ ...run, encoder: this.encoder, probedAgain: this.probedAgain });
    const reason = explainNvencFailure(run.stderr);
    this.options.log.warn({ reason, next: next.type }, "NVENC refused this job");
    switch (next.type) {
      case "leave-gpu-graph":
        this.leaveGpuGraph(run.outputs, reason);
        return;
      case "fewer":
        this.encoder = next.encoder;
        this.fewerOutputs = next.encoder.outputsAtOnce ?? null;
        return;
      case "other-encoder":
        this.encoder = next.encoder;
        return;
      case "probe-again":
        this.probedAgain = true;
        this.fewerOutputs = null;
        this.encoder = (await this.probeEncoder()) ?? this.encoder;
    }
  }

  /** A run made whole renditions. Only now is a spoilt one the fault of the card's graph, and not the source's or NVENC's. */
  succeeded(renditions: readonly { made: unknown }[]): void {
    // Where all outgrew their room, nothing is proven yet.
    if (this.encoder.kind !== "nvenc" || renditions.every(({ made }) => made === null)) return;
    if (this.fewerOutputs !== null) this.options.onFewerOutputs?.(this.fewerOutputs);
    this.fewerOutputs = null;
    if (this.spoilt !== null) this.encoder.gpuProofs?.remember(this.spoilt.kind, `failed in a job: ${this.spoilt.why}`);
  }

  /** The probe is every job's, and goes on; a job that is stopped does not wait for it. */
  private async probeEncoder(): Promise<EncoderChoice | undefined> {
    const { probeEncoder, signal } = this.options;
    return await Promise.race([probeEncoder?.().catch(noEncoder), aborted(signal)]);
  }
}

function noEncoder(error: unknown): never {
  const message = error instanceof Error ? error.message : "The encoder could not be probed again.";
  throw new EncodeError({ code: "ENCODER_FAILED", message, retryable: true });
}
