/**
 * How a job's renditions are spread over runs of ffmpeg: as many at once as the encoder has sessions for, on the card
 * where that is proven, and what follows when the encoder refuses a run.
 */
import type { RenditionPlan } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import type { Binaries } from "./binaries.ts";
import { buildEncodeCommand, type PictureGraph } from "./encode-command.ts";
import { EncodeError } from "./encode-failure.ts";
import type { RunProgress } from "./encode-run.ts";
import { type EncoderChoice, explainNvencFailure, isSessionLimit } from "./encoder-probe.ts";
import { whyNotOnGpu } from "./gpu-graph.ts";
import { proveOnGpu } from "./gpu-proof.ts";

/** The next renditions to encode together, in the ladder's order: the lowest are wanted first. */
export function nextBatch(left: readonly RenditionPlan[], encoder: EncoderChoice): readonly RenditionPlan[] {
  return left.slice(0, Math.max(1, encoder.outputsAtOnce ?? left.length));
}

export type GraphInput = {
  source: SourceProbe;
  plans: readonly RenditionPlan[];
  encoder: EncoderChoice;
  binaries: Binaries;
  sourceUrl: string;
  signal: AbortSignal;
  log: (fields: Record<string, unknown>, message: string) => void;
};

const kindOf = ({ videoCodec, pixelFormat, codedWidth, codedHeight }: SourceProbe, outputs: number) =>
  `${videoCodec} ${pixelFormat} ${codedWidth}x${codedHeight} into ${outputs}`;

/** The card's graph where it is for this source and has been proven on one like it; proves it on this one if need be. */
export async function chooseGraph(input: GraphInput): Promise<PictureGraph> {
  const { source, plans, encoder, binaries } = input;
  const { gpuProofs } = encoder;
  if (encoder.kind !== "nvenc" || gpuProofs === undefined) return "cpu";
  const unfit = whyNotOnGpu(source, plans);
  if (unfit !== null) {
    input.log({ because: unfit }, "decoding and scaling on the CPU");
    return "cpu";
  }
  const kind = kindOf(source, plans.length);
  let proof = gpuProofs.get(kind);
  if (proof === undefined) {
    const targets = plans.map(() => "-");
    const { dialect } = encoder;
    const command = {
      source,
      plans,
      encoder: encoder.kind,
      dialect,
      input: input.sourceUrl,
      targets,
      graph: "gpu",
    } as const;
    proof = (await proveOnGpu(buildEncodeCommand(command), binaries.ffmpegPath, input.signal)) ?? "works";
    // Sessions come back; what a card cannot do, it will not learn.
    if (!isSessionLimit(proof)) gpuProofs.set(kind, proof);
    input.log({ kind, proof }, "tried decoding and scaling on the card");
  }
  return proof === "works" ? "gpu" : "cpu";
}

export type RefusedRun = {
  encoder: EncoderChoice;
  graph: PictureGraph;
  source: SourceProbe;
  outputs: number;
  stderr: string;
  /** Whether the encoder has been probed again in this job already. */
  probedAgain: boolean;
};

export type AfterRefusal =
  /** The same once more, through the CPU's graph. */
  | { type: "leave-gpu-graph" }
  | { type: "fewer"; encoder: EncoderChoice }
  | { type: "probe-again" }
  | { type: "other-encoder"; encoder: EncoderChoice };

/** What to do after a run that NVENC ended before anything came out of it. */
export function afterRefusal(run: RefusedRun): AfterRefusal {
  const { encoder, outputs } = run;
  const limited = isSessionLimit(run.stderr);
  const reason = explainNvencFailure(run.stderr);
  if (limited && outputs > 1) return { type: "fewer", encoder: { ...encoder, outputsAtOnce: outputs - 1 } };
  if (!limited && run.graph === "gpu") return { type: "leave-gpu-graph" };
  if (!run.probedAgain) return { type: "probe-again" };
  if (encoder.only) {
    throw new EncodeError({ code: "ENCODER_FAILED", message: `FFMPEG_ENCODER=nvenc, but ${reason}`, retryable: true });
  }
  return {
    type: "other-encoder",
    encoder: { kind: "x264", dialect: encoder.dialect, reason: `libx264 on the CPU: ${reason}` },
  };
}

/** The card's graph failed where it had been proven: no other job needs to find out. */
export function disproveGpuGraph({ encoder, source, outputs, stderr }: RefusedRun): void {
  encoder.gpuProofs?.set(kindOf(source, outputs), `failed in a job: ${explainNvencFailure(stderr)}`);
}

/** One run's progress as that of the whole job: renditions of earlier runs are whole, those of later ones not begun. */
export function progressOver(
  all: readonly RenditionPlan[],
  done: readonly { quality: RenditionPlan["quality"]; sizeBytes: number }[],
  batch: readonly RenditionPlan[],
  run: RunProgress,
): RunProgress & { runsLeft: number } {
  const finished = new Map(done.map(({ quality, sizeBytes }) => [quality, sizeBytes]));
  const later = all.length - finished.size - batch.length;
  return {
    ...run,
    runsLeft: batch.length > 0 ? Math.ceil(Math.max(0, later) / batch.length) : 0,
    renditions: all.map((plan) => {
      const running = run.renditions[batch.indexOf(plan)];
      const uploadedBytes = finished.get(plan.quality);
      if (uploadedBytes !== undefined) return { frames: plan.expectedFrames, uploadedBytes };
      return running ?? { frames: 0, uploadedBytes: 0 };
    }),
  };
}
