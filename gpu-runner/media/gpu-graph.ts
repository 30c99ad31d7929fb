/**
 * The filter graph that leaves pictures on the card from NVDEC through scaling to NVENC, and which sources it is for: what
 * needs no more than scaling. All else goes through the CPU's graph. Pure; `gpu-proof.ts` proves a graph before its use.
 */
import type { RenditionPlan } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import { mayHaveFields, pictureInput } from "./picture-graph.ts";
import { moveToStart } from "./sound-graph.ts";

export const GPU_INPUT_OPTIONS: readonly string[] = (
  "-init_hw_device cuda=cu:0 -filter_hw_device cu -hwaccel cuda -hwaccel_device cu " +
  "-hwaccel_output_format cuda -extra_hw_frames 8"
).split(" ");

/** What NVDEC decodes, on cards that have it for the codec; that this one does is for the proof to show. */
const DECODED: Readonly<Record<string, readonly string[]>> = {
  h264: ["yuv420p"],
  hevc: ["yuv420p", "yuv420p10le"],
  vp8: ["yuv420p"],
  vp9: ["yuv420p"],
  av1: ["yuv420p"],
  mpeg2video: ["yuv420p"],
  vc1: ["yuv420p"],
};

/** Why a source has to go through the CPU's graph; null when it may stay on the card. */
export function whyNotOnGpu(source: SourceProbe, plans: readonly RenditionPlan[]): string | null {
  const { videoCodec, pixelFormat } = source;
  if (!DECODED[videoCodec]?.includes(pixelFormat)) return `NVDEC does not decode ${videoCodec} in ${pixelFormat}`;
  if (source.rotation !== 0 || source.mirrored) return "the picture has to be turned";
  if (source.interlaced) return "the picture is interlaced";
  if (mayHaveFields(source) && !STATES_FIELDS.test(source.container)) return "the picture may turn interlaced";
  if (source.hdr !== null) return "the picture is HDR";
  if (source.fullRange) return "the picture's range has to be converted";
  if (!isBt709(source)) return "the picture's colours have to be converted";
  if (moveToStart(source) !== null) return "the picture's start has to be moved";
  if (source.vfr || plans.some((plan) => plan.resample)) return "the frame rate has to be changed";
  return null;
}

/** Whose one description holds for all frames. What other containers join may have fields later on. */
const STATES_FIELDS = /^(mov|matroska)\b/;

/** scale_cuda converts no matrix. What a large picture does not say is taken for BT.709, as on the CPU. */
function isBt709({ colorMatrix, colorPrimaries, colorTransfer, codedHeight }: SourceProbe): boolean {
  const matrix = colorMatrix ?? (codedHeight > 576 ? "bt709" : "bt601");
  return [matrix, colorPrimaries ?? "bt709", colorTransfer ?? "bt709"].every((name) => name === "bt709");
}

/** Frames that NVDEC could not decode come from the CPU and are uploaded; those on the card pass `hwupload` untouched. */
export function gpuFilterGraph(source: SourceProbe, plans: readonly RenditionPlan[]): string {
  const upload = "format=nv12|p010le|cuda,hwupload";
  const scalers = plans.map(
    ({ width, height }) => `scale_cuda=${width}:${height}:interp_algo=bicubic:format=yuv420p,setsar=1`,
  );
  if (plans.length === 1) return `${pictureInput(source)}${upload},${scalers[0]}[v0]`;
  const labels = plans.map((_, i) => `[s${i}]`).join("");
  const chains = scalers.map((scaler, i) => `[s${i}]${scaler}[v${i}]`);
  return [`${pictureInput(source)}${upload},split=${plans.length}${labels}`, ...chains].join(";");
}
