/**
 * The whole ffmpeg command of one job: one decode, one filter graph, N renditions. Pure; `ffmpeg-process.ts` runs it.
 */
import type { RenditionPlan } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import { GPU_INPUT_OPTIONS, gpuFilterGraph } from "./gpu-graph.ts";
import { filterGraph, type Holes, isTurned, NO_AUTOROTATE, unreadInput } from "./picture-graph.ts";
import { type SoundCommand, soundCommand } from "./sound-graph.ts";

export type EncoderKind = "nvenc" | "x264";

/** Where pictures are decoded and scaled. */
export type PictureGraph = "cpu" | "gpu";

/** What differs between builds of ffmpeg and between cards. */
export type Dialect = {
  /** `-fps_mode` came with 5.1 and `-vsync` is on its way out. */
  frameRateModeOption: "-fps_mode" | "-vsync";
  /** Whether this NVENC takes B frames as references. */
  bFrameReferences: boolean;
};

export type EncodeCommand = {
  inputOptions: string[];
  input: string;
  filterGraph: string;
  outputs: { options: string[]; target: string }[];
};

export type EncodeCommandInput = {
  source: SourceProbe;
  /** At least one. */
  plans: readonly RenditionPlan[];
  encoder: EncoderKind;
  dialect: Dialect;
  /** Where ffmpeg reads: the loopback proxy's URL. */
  input: string;
  /** Where each plan's stream goes, in the plans' order. */
  targets: readonly string[];
  /** "cpu" unless said otherwise. */
  graph?: PictureGraph;
  /** The file that maps an HDR source to BT.709. */
  hdrCube?: string | null;
  holes?: Holes | null;
};

/**
 * Containers that a source may be in. A playlist or a script among the uploads must not make ffmpeg open what it names,
 * so everything else is refused, and so is every protocol but the proxy's.
 */
const DEMUXERS =
  "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,mxf,mxf_opatom,flv,live_flv,asf,ogg,gxf,dv,rm,nut,ivf,h264,hevc,m4v,mjpeg," +
  "vc1,y4m,yuv4mpegpipe,r3d,wtv,lxf,cine,obu,av1,wav,w64,mp3,flac,aac,aiff,caf,ac3,eac3,dts,amr,ape,wv,au,gif,apng," +
  "png_pipe,jpeg_pipe,jpegls_pipe,j2k_pipe,webp_pipe,tiff_pipe,bmp_pipe,exr_pipe,dpx_pipe,psd_pipe,svg_pipe,sgi_pipe," +
  "pgm_pipe,ppm_pipe,pam_pipe,pbm_pipe,sunrast_pipe,xbm_pipe,xpm_pipe,pcx_pipe,qdraw_pipe,dds_pipe,pictor_pipe,image2";

export const SOURCE_LIMITS: readonly string[] = ["-protocol_whitelist", "http,tcp", "-format_whitelist", DEMUXERS];

const COLOUR_TAGS = "-color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv".split(" ");

/**
 * A fragment's pictures lie together in the finished file, and its sound behind them. Readers that go by file position
 * only while the tracks are within a second of each other would seek, which over HTTP is a connection each time.
 */
const FRAGMENT_SECONDS = 0.5;

/** The stream that `mp4/faststart.ts` takes: fragments end before keyframes, and where any track has so much in one. */
export const FRAGMENTED_MP4: readonly string[] = [
  ..."-movflags +frag_keyframe+delay_moov+default_base_moof".split(" "),
  ...["-frag_duration", String(FRAGMENT_SECONDS * 1_000_000), "-f", "mp4"],
];

/** How many fragments a stream has at most; the last sound of one may be a fragment of its own. */
export function mostFragments(durationSeconds: number, keyframeSeconds: number): number {
  return Math.ceil(durationSeconds / FRAGMENT_SECONDS) + Math.ceil(durationSeconds / keyframeSeconds) + 2;
}

export function buildEncodeCommand(input: EncodeCommandInput): EncodeCommand {
  const sound = soundCommand(input.source, input.plans.length);
  return {
    inputOptions: [
      // How much may be lost to decode errors is not ffmpeg's to say: a constant rate fills the holes.
      ..."-hide_banner -nostdin -v warning -nostats -progress pipe:2 -max_error_rate 1".split(" "),
      // Of the whole command, wherever it stands.
      ...(sound.graph === null ? [] : ["-filter_complex", sound.graph]),
      ...SOURCE_LIMITS,
      ...NO_AUTOROTATE,
      ...(input.graph === "gpu" ? GPU_INPUT_OPTIONS : []),
    ],
    input: input.input,
    filterGraph:
      (input.graph === "gpu"
        ? gpuFilterGraph(input.source, input.plans)
        : filterGraph(input.source, input.plans, input)) +
      (input.dialect.frameRateModeOption === "-vsync" || isTurned(input.source) ? unreadInput(input.source) : ""),
    outputs: input.plans.map((plan, i) => ({
      options: outputOptions(input, plan, i, sound),
      target: input.targets[i] ?? "",
    })),
  };
}

/** The argument list as ffmpeg gets it. */
export function toArguments(command: EncodeCommand): string[] {
  const outputs = command.outputs.flatMap(({ options, target }) => [...options, target]);
  return [...command.inputOptions, "-i", command.input, "-filter_complex", command.filterGraph, ...outputs];
}

function outputOptions(
  { encoder, dialect }: EncodeCommandInput,
  plan: RenditionPlan,
  index: number,
  sound: SoundCommand,
): string[] {
  const heard = sound.outputOptions(index);
  const audio =
    plan.audioBitrateBps === null || heard.map.length === 0
      ? { map: [], codec: [] }
      : {
          map: heard.map,
          codec: [...heard.filter, "-c:a", "aac", "-b:a", String(plan.audioBitrateBps), "-ac", "2", "-ar", "48000"],
        };
  return [
    ...["-map", `[v${index}]`, ...audio.map, "-map_metadata", "-1", "-map_chapters", "-1"],
    // The measured rate: left to itself, ffmpeg takes the header's.
    ...[dialect.frameRateModeOption, "cfr", "-r", `${plan.fps.num}/${plan.fps.den}`],
    ...videoEncoderOptions(encoder, plan, dialect),
    ...["-g", String(plan.gop), "-force_key_frames", `expr:gte(t,n_forced*${plan.keyframeSeconds})`],
    ...COLOUR_TAGS,
    ...audio.codec,
    ...(plan.timecode === null ? [] : ["-timecode", plan.timecode]),
    ...["-max_muxing_queue_size", "4096", ...FRAGMENTED_MP4],
  ];
}

export function videoEncoderOptions(
  encoder: EncoderKind,
  plan: Pick<RenditionPlan, "maxRateBps" | "crf" | "cq" | "gop">,
  dialect: Dialect,
): string[] {
  const rate = ["-maxrate", String(plan.maxRateBps), "-bufsize", String(plan.maxRateBps * 2)];
  if (encoder === "x264") {
    return [
      ..."-c:v libx264 -preset fast -profile:v high -crf".split(" "),
      ...[String(plan.crf), ...rate, "-keyint_min", String(plan.gop), "-sc_threshold", "0"],
    ];
  }
  return [
    ..."-c:v h264_nvenc -preset p5 -tune hq -profile:v high -rc vbr -cq".split(" "),
    ...[String(plan.cq), "-b:v", "0", ...rate],
    ..."-spatial-aq 1 -aq-strength 8 -temporal-aq 1 -rc-lookahead 20 -bf 3".split(" "),
    ...(dialect.bFrameReferences ? ["-b_ref_mode", "middle"] : []),
    ..."-no-scenecut 1 -forced-idr 1".split(" "),
  ];
}
