/**
 * The picture's half of an encode: from decoded frames to one picture for each rendition, upright, progressive, square
 * pixels, BT.709 in limited range. Pure.
 */
import type { RenditionPlan } from "../../schemas/ladder.ts";
import type { Rational, SourceProbe } from "../../schemas/media-probe.ts";
import { moveToStart } from "./sound-graph.ts";

/** The chosen track as filter graphs name it. Stored probes of older runners name none. */
export function pictureInput({ videoIndex }: Pick<SourceProbe, "videoIndex">): string {
  return videoIndex === undefined ? "[0:V:0]" : `[0:${videoIndex}]`;
}

/**
 * A second input, read by nobody, which costs no decode: where a graph has one input only, builds of ffmpeg take more from
 * it than its frames. Those before 5.1 take a frame to last as long as its packet says. The last packet of a clip that
 * begins with an edit list says too much (1.5 frames, for one), and the frame would be written twice. 5.1 copies the
 * display matrix to the rendition, which a player would turn once more.
 */
export const unreadInput = (source: SourceProbe) => `;${pictureInput(source)}nullsink`;

export type GraphTerms = {
  /** The file of `hdr-cube.ts` for the source's transfer; asked for where the source is HDR. */
  hdrCube?: string | null;
  holes?: Holes | null;
};

/** Pictures of the source are damaged. Left to fill them, ffmpeg writes some too many at the end, or none beyond the last. */
export type Holes = {
  /** For so long the last good picture stands at the end. */
  holdLastSeconds: number;
  /** Then the rendition ends. */
  endSeconds: number;
};

export function filterGraph(source: SourceProbe, plans: readonly RenditionPlan[], terms: GraphTerms = {}): string {
  const shared = sharedFilters(source, plans, terms);
  const scalers = plans.map((plan) => scaleFilters(source, plan));
  if (plans.length === 1) return `${pictureInput(source)}${[...shared, ...(scalers[0] ?? [])].join(",")}[v0]`;
  const labels = plans.map((_, i) => `[s${i}]`);
  const chains = scalers.map((filters, i) => `[s${i}]${filters.join(",")}[v${i}]`);
  return [`${pictureInput(source)}${[...shared, `split=${plans.length}`].join(",")}${labels.join("")}`, ...chains].join(
    ";",
  );
}

/** Done once, before the picture is split: fields are lines, so a picture is turned after they are gone. */
function sharedFilters(
  source: SourceProbe,
  plans: readonly RenditionPlan[],
  { hdrCube = null, holes = null }: GraphTerms,
): string[] {
  const first = plans[0];
  const start = moveToStart(source);
  const largest = plans.reduce((a, b) => (b.width * b.height > a.width * a.height ? b : a));
  return [
    ...(start === null ? [] : [start]),
    ...(isGrey(source) && !isFullGrey(source) ? greyAsLuma(source) : []),
    ...(mayHaveFields(source) ? ["bwdif=mode=send_frame:parity=auto:deint=interlaced"] : []),
    ...(first?.resample || (first && holes) ? [`fps=${first.fps.num}/${first.fps.den}`] : []),
    ...turnFilters(source),
    ...(source.hdr === null ? gamutConversion(source, largest) : hdrConversion(source, largest, hdrCube)),
    ...(first && holes ? endOfHoles(holes, first.fps) : []),
  ];
}

function endOfHoles({ holdLastSeconds, endSeconds }: Holes, { num, den }: Rational): string[] {
  const hold = holdLastSeconds > 0 ? [`tpad=stop_mode=clone:stop_duration=${holdLastSeconds.toFixed(3)}`] : [];
  return [...hold, `trim=end_frame=${Math.ceil((endSeconds * num) / den - 0.25)}`];
}

/** swscale takes grey for full range, whatever it says. As if both were full, the samples are copied. */
function greyAsLuma({ bitDepth }: SourceProbe): string[] {
  return ["scale=in_range=full:out_range=full", `format=${bitDepth > 8 ? "yuv420p10le" : "yuv420p"}`];
}

/** Codecs whose every frame says for itself whether it is made of fields. */
const FIELD_CODECS = new Set(
  "h264 mpeg2video mpeg4 vc1 wmv3 cavs prores dnxhd dvvideo mjpeg ffv1 cfhd jpeg2000".split(" "),
);
/** What `bwdif` takes as it is. Its least picture is larger than what some sources have. */
const BWDIF_FORMAT = /^yuv[aj]?4(10|11|20|22|40|44)p(9|10|12|14|16)?(le)?$/;
const BWDIF_MIN_PX = 16;

/**
 * Whether any frame may be made of fields, however the file begins: a progressive frame passes the deinterlacer untouched,
 * at no cost that can be measured.
 */
export function mayHaveFields(source: SourceProbe): boolean {
  if (Math.min(source.codedWidth, source.codedHeight) < BWDIF_MIN_PX) return false;
  const takesFormat = BWDIF_FORMAT.test(source.pixelFormat) || isGrey(source);
  return source.interlaced || (FIELD_CODECS.has(source.videoCodec) && takesFormat);
}

export const isTurned = ({ rotation, mirrored }: SourceProbe) => rotation !== 0 || mirrored === true;

/** ffmpeg would turn the picture before the first filter, with its fields still in it: `NO_AUTOROTATE` keeps it from that. */
function turnFilters({ rotation, mirrored }: SourceProbe): string[] {
  const turn = TURNS[rotation][mirrored ? "mirrored" : "plain"];
  // Else some versions carry the matrix on to the rendition.
  return turn.length === 0 ? [] : [...turn, "sidedata=mode=delete:type=DISPLAYMATRIX"];
}

export const NO_AUTOROTATE: readonly string[] = ["-noautorotate"];

const TURNS = {
  0: { plain: [], mirrored: ["hflip"] },
  90: { plain: ["transpose=clock"], mirrored: ["transpose=cclock_flip"] },
  180: { plain: ["hflip", "vflip"], mirrored: ["vflip"] },
  270: { plain: ["transpose=cclock"], mirrored: ["transpose=clock_flip"] },
} as const;

const WIDE_PRIMARIES = new Set(["bt2020", "smpte431", "smpte432"]);

/** Whether it has light beyond BT.709. */
const isConverted = ({ hdr, colorPrimaries }: SourceProbe) => hdr !== null || WIDE_PRIMARIES.has(colorPrimaries ?? "");

function hdrConversion(source: SourceProbe, largest: RenditionPlan, hdrCube: string | null): string[] {
  if (hdrCube === null) throw new Error("an HDR source needs its table");
  return hdrFilters(source, largest, hdrCube);
}

/** Once, at the largest rendition's size; in 16 bits, for which `lut3d` has the fastest code. */
export function hdrFilters(
  source: Pick<SourceProbe, "colorMatrix" | "fullRange" | "pixelFormat">,
  { width, height }: { width: number; height: number },
  hdrCube: string,
): string[] {
  const matrix = SCALE_MATRICES[source.colorMatrix ?? ""] ?? "bt2020";
  const yuvIn = isRgb(source) ? "" : `:in_color_matrix=${matrix}:in_range=${source.fullRange ? "full" : "limited"}`;
  return [
    `scale=${width}:${height}:flags=bicubic${yuvIn}:out_range=full`,
    "format=gbrp16le",
    `lut3d=file=${hdrCube}:interp=tetrahedral`,
    "scale=out_color_matrix=bt709:out_range=limited",
    "format=yuv420p",
  ];
}

/** A gamut beyond BT.709 is brought into it once, at the largest rendition's size. */
function gamutConversion(source: SourceProbe, { width, height }: RenditionPlan): string[] {
  if (!isConverted(source)) return [];
  const rgb = isRgb(source);
  // zscale needs every input property spelled out or finds "no path between colorspaces".
  const { colorPrimaries } = source;
  const pictureIn = [
    `w=${width}:h=${height}`,
    `pin=${colorPrimaries}`,
    `tin=${source.colorTransfer === "iec61966-2-1" ? "iec61966-2-1" : "bt709"}`,
    `min=${rgb ? "gbr" : (ZSCALE_MATRICES[source.colorMatrix ?? ""] ?? "bt2020nc")}`,
    `rin=${source.fullRange || rgb ? "full" : "limited"}`,
  ].join(":");
  const odd = source.codedWidth % 2 !== 0 || source.codedHeight % 2 !== 0;
  return [
    // zscale takes no subsampled picture of an odd size.
    ...(odd && !rgb ? ["scale=flags=bicubic", "format=yuv444p16le"] : []),
    `zscale=${pictureIn}:p=bt709:t=bt709:m=bt709:r=limited`,
    "format=yuv420p",
  ];
}

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
  const range = inputRange(source);
  const limits = range === null ? "" : `:in_range=${range}`;
  return [
    `scale=${plan.width}:${plan.height}:flags=bicubic${conversion}${limits}:out_color_matrix=bt709:out_range=limited`,
    "setsar=1",
    "format=yuv420p",
    "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709",
  ];
}

const isGrey = ({ pixelFormat }: SourceProbe) => /^(gray|y[0-9]|ya(8|16))/.test(pixelFormat);

/** Coded as the luma of a video, grey without a word on its range is limited; as a picture of its own it is full. */
function isFullGrey({ fullRange, colorRange, videoCodec }: SourceProbe): boolean {
  return fullRange || (colorRange === undefined && !LUMA_CODECS.has(videoCodec));
}

const LUMA_CODECS = new Set(["h264", "hevc", "vvc", "av1", "vp9", "prores", "mpeg2video"]);

const SCALE_MATRICES: Readonly<Record<string, string>> = {
  bt709: "bt709",
  fcc: "fcc",
  bt470bg: "bt601",
  smpte170m: "bt601",
  smpte240m: "smpte240m",
  bt2020nc: "bt2020",
  bt2020c: "bt2020",
};

/** null: nothing to convert from (RGB). */
function inputMatrix(source: SourceProbe): string | null {
  // Said in words: converted frames may still carry the source's tag, and swscale would convert them again.
  if (isConverted(source)) return "bt709";
  if (isRgb(source)) return null;
  // Any will do without colours, and this one rounds nothing.
  if (isGrey(source)) return "bt709";
  return SCALE_MATRICES[source.colorMatrix ?? ""] ?? (source.codedHeight > 576 ? "bt709" : "bt601");
}

/** null: what the frames say. */
function inputRange(source: SourceProbe): "full" | "limited" | null {
  if (isConverted(source)) return "limited";
  if (!isGrey(source)) return null;
  return isFullGrey(source) ? "full" : "limited";
}

function isRgb({ colorMatrix, pixelFormat }: Pick<SourceProbe, "colorMatrix" | "pixelFormat">): boolean {
  return colorMatrix === "gbr" || /^(0?(rgb|bgr)|argb|abgr|gbr|x2rgb|x2bgr|pal8)/.test(pixelFormat);
}
