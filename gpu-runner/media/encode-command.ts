/**
 * The whole ffmpeg command of one job: one decode, one filter graph, N renditions. Pure; `ffmpeg-process.ts` runs it.
 */
import type { RenditionPlan } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import { GPU_INPUT_OPTIONS, gpuFilterGraph } from "./gpu-graph.ts";
import { moveToStart, type SoundCommand, soundCommand } from "./sound-graph.ts";

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
};

/**
 * Containers that a source may be in. A playlist or a script among the uploads must not make ffmpeg open what it names,
 * so everything else is refused, and so is every protocol but the proxy's.
 */
const DEMUXERS =
  "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,mxf,mxf_opatom,flv,live_flv,asf,ogg,gxf,dv,rm,nut,ivf,h264,hevc,m4v," +
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

/**
 * How much of a source may be lost to decode errors. A constant rate fills every hole with the picture before it, so that
 * the number of frames does not tell. Streams that begin anywhere have errors until their first keyframe, and keep ffmpeg's
 * own limit, two thirds.
 */
const MAX_ERROR_RATE = "0.1";
const BEGINS_WITH_KEYFRAME = /^(mov|matroska|mxf|avi)\b/;

/** The stream that `mp4/faststart.ts` takes: fragments end before keyframes, and where any track has so much in one. */
export const FRAGMENTED_MP4: readonly string[] = [
  ..."-movflags +frag_keyframe+delay_moov+default_base_moof".split(" "),
  ...["-frag_duration", String(FRAGMENT_SECONDS * 1_000_000), "-f", "mp4"],
];

/** How many fragments a stream has at most; the last sound of one may be a fragment of its own. */
export function mostFragments(durationSeconds: number, keyframeSeconds: number): number {
  return Math.ceil(durationSeconds / FRAGMENT_SECONDS) + Math.ceil(durationSeconds / keyframeSeconds) + 2;
}

/**
 * Builds before 5.1 take a frame to last as long as its packet says wherever a graph has one input only. The last packet
 * of a clip that begins with an edit list says too much (1.5 frames, for one), and the frame would be written twice. A
 * second input, read by nobody, makes them count by the graph's frame rate, as newer builds do. It costs no decode.
 */
const LAST_FRAME_ONCE = ";[0:V:0]nullsink";

export function buildEncodeCommand(input: EncodeCommandInput): EncodeCommand {
  const sound = soundCommand(input.source, input.plans.length);
  return {
    inputOptions: [
      ..."-hide_banner -nostdin -v warning -nostats -progress pipe:2".split(" "),
      ...(BEGINS_WITH_KEYFRAME.test(input.source.container) ? ["-max_error_rate", MAX_ERROR_RATE] : []),
      // Of the whole command, wherever it stands.
      ...(sound.graph === null ? [] : ["-filter_complex", sound.graph]),
      ...SOURCE_LIMITS,
      ...(input.graph === "gpu" ? GPU_INPUT_OPTIONS : []),
    ],
    input: input.input,
    filterGraph:
      (input.graph === "gpu" ? gpuFilterGraph(input.plans) : filterGraph(input.source, input.plans)) +
      (input.dialect.frameRateModeOption === "-vsync" ? LAST_FRAME_ONCE : ""),
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
    ...[dialect.frameRateModeOption, "cfr"],
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

export function filterGraph(source: SourceProbe, plans: readonly RenditionPlan[]): string {
  const shared = sharedFilters(source, plans);
  const scalers = plans.map((plan) => scaleFilters(source, plan));
  if (plans.length === 1) return `[0:V:0]${[...shared, ...(scalers[0] ?? [])].join(",")}[v0]`;
  const labels = plans.map((_, i) => `[s${i}]`);
  const chains = scalers.map((filters, i) => `[s${i}]${filters.join(",")}[v${i}]`);
  return [`[0:V:0]${[...shared, `split=${plans.length}`].join(",")}${labels.join("")}`, ...chains].join(";");
}

/** Done once, before the picture is split. */
function sharedFilters(source: SourceProbe, plans: readonly RenditionPlan[]): string[] {
  const first = plans[0];
  const start = moveToStart(source);
  const largest = plans.reduce((a, b) => (b.width * b.height > a.width * a.height ? b : a));
  return [
    ...(start === null ? [] : [start]),
    ...(source.interlaced ? ["bwdif=mode=send_frame:parity=auto:deint=interlaced"] : []),
    ...(first?.resample ? [`fps=${first.fps.num}/${first.fps.den}`] : []),
    ...colourConversion(source, largest),
  ];
}

const WIDE_PRIMARIES = new Set(["bt2020", "smpte431", "smpte432"]);

/** Light beyond BT.709, in brightness or in gamut, is brought into it once, at the largest rendition's size. */
function colourConversion(source: SourceProbe, { width, height }: RenditionPlan): string[] {
  const wide = WIDE_PRIMARIES.has(source.colorPrimaries ?? "");
  if (source.hdr === null && !wide) return [];
  const rgb = isRgb(source);
  // zscale needs every input property spelled out or finds "no path between colorspaces".
  const { colorPrimaries } = source;
  const primaries = colorPrimaries !== null && ZSCALE_PRIMARIES.has(colorPrimaries) ? colorPrimaries : "bt2020";
  const pictureIn = [
    `w=${width}:h=${height}`,
    `pin=${primaries}`,
    `tin=${source.hdr ? HDR_TRANSFERS[source.hdr] : source.colorTransfer === "iec61966-2-1" ? "iec61966-2-1" : "bt709"}`,
    `min=${rgb ? "gbr" : (ZSCALE_MATRICES[source.colorMatrix ?? ""] ?? "bt2020nc")}`,
    `rin=${source.fullRange || rgb ? "full" : "limited"}`,
  ].join(":");
  const odd = source.codedWidth % 2 !== 0 || source.codedHeight % 2 !== 0;
  return [
    // zscale takes no subsampled picture of an odd size.
    ...(odd && !rgb ? ["scale=flags=bicubic", "format=yuv444p16le"] : []),
    ...(source.hdr
      ? [
          // What the picture itself does not state would be unknown again behind it.
          `zscale=${pictureIn}:t=linear:npl=100:p=${primaries}`,
          "format=gbrpf32le",
          "zscale=p=bt709",
          "tonemap=tonemap=hable:desat=0",
          "zscale=t=bt709:m=bt709:r=limited",
        ]
      : [`zscale=${pictureIn}:p=bt709:t=bt709:m=bt709:r=limited`]),
    "format=yuv420p",
  ];
}

const HDR_TRANSFERS = { pq: "smpte2084", hlg: "arib-std-b67" } as const;
const ZSCALE_PRIMARIES = new Set(["bt2020", "bt709", "smpte431", "smpte432"]);
const ZSCALE_MATRICES: Readonly<Record<string, string>> = {
  bt709: "bt709",
  bt470bg: "bt470bg",
  smpte170m: "smpte170m",
  bt2020nc: "bt2020nc",
  bt2020c: "bt2020c",
};

/** `setparams` because some versions lose the tags on the way through the graph. */
function scaleFilters(source: SourceProbe, plan: RenditionPlan): string[] {
  const matrix = inputMatrix(source);
  const conversion = matrix === null ? "" : `:in_color_matrix=${matrix}`;
  return [
    `scale=${plan.width}:${plan.height}:flags=bicubic${conversion}:out_color_matrix=bt709:out_range=limited`,
    "setsar=1",
    "format=yuv420p",
    "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709",
  ];
}

const SCALE_MATRICES: Readonly<Record<string, string>> = {
  bt709: "bt709",
  fcc: "fcc",
  bt470bg: "bt601",
  smpte170m: "bt601",
  smpte240m: "smpte240m",
  bt2020nc: "bt2020",
  bt2020c: "bt2020",
};

/** null: nothing to convert from (RGB), or already converted. */
function inputMatrix(source: SourceProbe): string | null {
  if (source.hdr || WIDE_PRIMARIES.has(source.colorPrimaries ?? "") || isRgb(source)) return null;
  return SCALE_MATRICES[source.colorMatrix ?? ""] ?? (source.codedHeight > 576 ? "bt709" : "bt601");
}

function isRgb({ colorMatrix, pixelFormat }: SourceProbe): boolean {
  return colorMatrix === "gbr" || /^(0?(rgb|bgr)|argb|abgr|gbr|x2rgb|x2bgr|pal8)/.test(pixelFormat);
}
