/**
 * One run of ffmpeg over some renditions: sockets, process, rewriting, uploading, and the end of all of them whatever
 * happens. What the end means is `verify.ts`'s to say.
 */
import { join } from "node:path";
import type { RenditionPlan } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import type { Binaries } from "./binaries.ts";
import { buildEncodeCommand, type EncodeCommand, mostFragments, type PictureGraph } from "./encode-command.ts";
import { aborted, EncodeError } from "./encode-failure.ts";
import type { EncoderChoice } from "./encoder-probe.ts";
import { proveExcerpt } from "./excerpt-proof.ts";
import { type FfmpegExit, type FfmpegProgress, startFfmpeg } from "./ffmpeg-process.ts";
import { CorruptFragmentError } from "./mp4/box.ts";
import type { Excerpt } from "./mp4/excerpt.ts";
import { type FaststartFile, MoovOverflowError, moovReserveBytes, rewriteAsFaststart } from "./mp4/faststart.ts";
import { createPartBuffers, type PartBuffers } from "./mp4/part-buffer.ts";
import { type OutputSocket, openOutputSocket } from "./output-socket.ts";
import type { Holes } from "./picture-graph.ts";
import type { RenditionEvidence } from "./verify.ts";
import { watchForStall } from "./watchdog.ts";

/** Takes one rendition's parts. Parts 2 and up come in order, then the head; part 1 is always the last. */
export type RenditionSink = {
  /**
   * Takes a part, and may go on storing it after it has resolved; the next one comes only then, and the encode waits for
   * it. May reject with an EncodeError. The bytes stay as they are until `release` is called, which lets a later part use
   * their memory. Must give up when the signal aborts, and after its own patience with the store: an encoder that waits
   * for a store is not taken for stalled.
   */
  part: (n: number, bytes: Uint8Array, release: () => void, signal: AbortSignal) => Promise<void>;
};

export type EncodeRunInput = {
  source: SourceProbe;
  plans: readonly RenditionPlan[];
  /** In the plans' order. */
  sinks: readonly RenditionSink[];
  /** Room for each plan's moov, where an earlier run found the planned room too small. */
  reserveBytes?: ReadonlyMap<RenditionPlan["quality"], number>;
  encoder: EncoderChoice;
  graph?: PictureGraph;
  binaries: Binaries;
  sourceUrl: string;
  socketFolder: string;
  /** The file that maps an HDR source to BT.709. */
  hdrCube?: string | null;
  holes?: Holes | null;
  /** Whether ffmpeg waits for the source, which gives up by itself. */
  reading: () => boolean;
  stallTimeoutMs: number;
  onProgress: (progress: RunProgress) => void;
  signal: AbortSignal;
};

export type RunProgress = FfmpegProgress & { renditions: { frames: number; uploadedBytes: number }[] };

export type RunResult = {
  exitCode: number | null;
  stderrTail: readonly string[];
  /** How often ffmpeg said that something of the source does not decode. */
  decodeErrors: number;
  /** Of each output, to keep its rate: the source shows more than that. */
  droppedFrames: number;
  /** Whether any stream had begun: a run that failed before may be tried with another encoder. */
  streamed: boolean;
  renditions: ({ plan: RenditionPlan } & StreamEnd)[];
};

type StreamEnd = {
  made: MadeRendition | null;
  overflow: MoovOverflowError | null;
};

export type MadeRendition = {
  file: FaststartFile;
  evidence: RenditionEvidence;
  /** Whether its beginning or its end was too large to be kept, and was not decoded. */
  partlyProven: boolean;
};

type Output = {
  plan: RenditionPlan;
  sink: RenditionSink;
  socket: OutputSocket;
  frames: number;
  storing: boolean;
  proving: boolean;
  uploadedBytes: number;
};

/** Throws what the signal was aborted with, what a sink rejected with, or ENCODER_STALLED. */
export async function runEncode(input: EncodeRunInput): Promise<RunResult> {
  const stop = new AbortController();
  const signal = AbortSignal.any([input.signal, stop.signal]);
  signal.throwIfAborted();
  const outputs = await openOutputs(input);
  let frame = 0;
  const ffmpeg = startFfmpeg(commandOf(input, outputs), input.binaries.ffmpegPath, (progress) => {
    frame = progress.frame;
    const renditions = outputs.map(({ frames, uploadedBytes }) => ({ frames, uploadedBytes }));
    input.onProgress({ ...progress, renditions });
  });
  let looksWhileWaiting = 0;
  const moved = () => {
    if (input.reading() || outputs.some((output) => output.storing || output.proving)) looksWhileWaiting++;
    return outputs.reduce((sum, output) => sum + output.socket.receivedBytes(), frame + looksWhileWaiting);
  };
  const watchdog = watchForStall(moved, input.stallTimeoutMs, () => stop.abort(stalled(input.stallTimeoutMs)));
  try {
    const exited = ffmpeg.exited.then((exit) => {
      for (const { socket } of outputs) socket.expectNoMore();
      return exit;
    });
    const prove = oneAtATime((excerpt: Excerpt) =>
      proveExcerpt(excerpt, { ffprobePath: input.binaries.ffprobePath, timeoutMs: PROOF_TIMEOUT_MS, signal }),
    );
    const buffers = createPartBuffers(outputs.length);
    const streams = outputs.map((output) => {
      const reserveBytes = input.reserveBytes?.get(output.plan.quality) ?? plannedReserveBytes(output.plan);
      return streamOutput(output, exited, { reserveBytes, buffers }, prove, signal);
    });
    const [exit, ends] = await Promise.race([Promise.all([exited, Promise.all(streams)]), aborted(signal)]);
    return {
      exitCode: exit.code,
      stderrTail: exit.stderrTail,
      decodeErrors: exit.decodeErrors,
      droppedFrames: exit.droppedFrames / outputs.length,
      streamed: outputs.some((output) => output.socket.receivedBytes() > 0),
      renditions: outputs.map(({ plan }, i) => ({ plan, ...(ends[i] ?? BROKEN_OFF) })),
    };
  } finally {
    watchdog.stop();
    // Uploads that are still under way must not outlive the run.
    stop.abort(new DOMException("the run has ended", "AbortError"));
    ffmpeg.kill();
    await Promise.all(outputs.map((output) => output.socket.close()));
    await ffmpeg.exited;
  }
}

async function openOutputs({ plans, sinks, socketFolder }: EncodeRunInput): Promise<Output[]> {
  return Promise.all(
    plans.map(async (plan, i) => {
      const sink = sinks[i];
      if (!sink) throw new RangeError("a plan has no sink");
      const socket = await openOutputSocket(join(socketFolder, `${plan.quality}.sock`));
      return { plan, sink, socket, frames: 0, storing: false, proving: false, uploadedBytes: 0 };
    }),
  );
}

function commandOf(input: EncodeRunInput, outputs: Output[]): EncodeCommand {
  return buildEncodeCommand({
    source: input.source,
    plans: input.plans,
    encoder: input.encoder.kind,
    dialect: input.encoder.dialect,
    input: input.sourceUrl,
    targets: outputs.map((output) => output.socket.target),
    graph: input.graph ?? "cpu",
    hdrCube: input.hdrCube ?? null,
    holes: input.holes ?? null,
  });
}

function plannedReserveBytes(plan: RenditionPlan): number {
  const { expectedFrames: frames, expectedDurationSeconds: durationSeconds, keyframeSeconds } = plan;
  return moovReserveBytes({ frames, durationSeconds, fragments: mostFragments(durationSeconds, keyframeSeconds) });
}

function stalled(timeoutMs: number): EncodeError {
  const message = `The encode made no progress for ${Math.round(timeoutMs / 1000)} seconds.`;
  return new EncodeError({ code: "ENCODER_STALLED", message, retryable: true });
}

const BROKEN_OFF: StreamEnd = { made: null, overflow: null };
const PROOF_TIMEOUT_MS = 60_000;

/** One rendition from its socket to its sink. */
async function streamOutput(
  output: Output,
  exited: Promise<FfmpegExit>,
  memory: { reserveBytes: number; buffers: PartBuffers },
  prove: (excerpt: Excerpt) => Promise<string | null>,
  signal: AbortSignal,
): Promise<StreamEnd> {
  try {
    const { file, excerpt, ...lengths } = await rewriteAsFaststart(untilProvenEnd(output.socket.chunks(), exited), {
      partSizeBytes: output.plan.partSizeBytes,
      ...memory,
      emit: async ({ n, bytes, release }) => {
        const { length } = bytes;
        output.storing = true;
        await output.sink.part(n, bytes, release, signal).finally(() => {
          output.storing = false;
        });
        output.uploadedBytes += length;
      },
      onFrames: (frames) => {
        output.frames = frames;
      },
    });
    output.proving = true;
    // While the last parts are still on their way.
    const decodeTrouble = await prove(excerpt);
    const evidence = { frames: file.frames, ...lengths, decodeTrouble };
    return { made: { file, evidence, partlyProven: excerpt.partial }, overflow: null };
  } catch (error) {
    if (error instanceof MoovOverflowError) return { made: null, overflow: error };
    if (!(error instanceof CorruptFragmentError)) throw error;
    // With its socket gone, an ffmpeg that is still writing fails and ends.
    await output.socket.close();
    return BROKEN_OFF;
  } finally {
    output.proving = false;
  }
}

/** A socket ends when ffmpeg ends, also when it was killed: only its exit status tells the two apart. */
async function* untilProvenEnd(chunks: AsyncIterable<Uint8Array>, exited: Promise<FfmpegExit>) {
  yield* chunks;
  const { code } = await exited;
  if (code !== 0) throw new CorruptFragmentError("ffmpeg failed");
}

/** Each call begins when the one before it has ended, well or not. */
function oneAtATime<Given, Answer>(work: (given: Given) => Promise<Answer>): (given: Given) => Promise<Answer> {
  let before: Promise<unknown> = Promise.resolve();
  return (given) => {
    const answer = before.then(() => work(given));
    before = answer.catch(() => {});
    return answer;
  };
}
