/** How the sources of the table are made: commands of ffmpeg, and edits of bytes. Built here, run by the table's test. */

/** Arguments of ffmpeg in one line; `{name}` is a file in the test's folder. The last step makes the source. */
export type Step = string | { from: string; to: string; edit: (bytes: Buffer) => Buffer };

export const SECONDS = 2;

/** The one picture of all sources, in RGB, so that what comes out can be held against what went in. */
export function card({ size = "640x360", fps = "25", seconds = SECONDS as number } = {}): string {
  return `-f lavfi -i testsrc2=s=${size}:r=${fps}:d=${seconds},format=gbrp`;
}

/** One tone for each channel, all at once. */
export function tones(hertz: readonly number[], layout: string, seconds: number = SECONDS): string {
  const channels = hertz.map((each) => (each === 0 ? "0" : `0.2*sin(${each}*2*PI*t)`)).join("|");
  return `-f lavfi -i aevalsrc=${channels}:s=48000:d=${seconds}:c=${layout}`;
}

export const LEFT_HERTZ = 440;
export const RIGHT_HERTZ = 1100;
export const STEREO = tones([LEFT_HERTZ, RIGHT_HERTZ], "stereo");

const TAGS = (primaries: string, transfer: string, matrix: string, range = "tv") =>
  `-color_primaries ${primaries} -color_trc ${transfer} -colorspace ${matrix} -color_range ${range}`;

/** The card as BT.709; `before` is done to it first. */
export function bt709(format = "yuv420p", before = ""): string {
  return `-vf ${before}scale=out_color_matrix=bt709:out_range=tv,format=${format} ${TAGS("bt709", "bt709", "bt709")}`;
}

export function bt601(format = "yuv420p", before = ""): string {
  return `-vf ${before}scale=out_color_matrix=bt601:out_range=tv,format=${format}`;
}

export const BT601_TAGS = TAGS("smpte170m", "smpte170m", "smpte170m");

export function fullRange(format: string): string {
  return `-vf scale=out_color_matrix=bt709:out_range=pc,format=${format} ${TAGS("bt709", "bt709", "bt709", "pc")}`;
}

/** The card as HDR: white at 203 nits, as BT.2408 has it. Without mastering data, as much footage comes. */
export function hdr(transfer: "smpte2084" | "arib-std-b67", format: string): string {
  return `-vf ${wideGamut(`t=${transfer}:npl=203`, format)} ${TAGS("bt2020", transfer, "bt2020nc")}`;
}

/** HDR of which only the transfer is stated. */
export function hdrByTransferAlone(transfer: "smpte2084" | "arib-std-b67", format: string): string {
  const unknown = "setparams=color_primaries=unknown:colorspace=unknown";
  return `-vf ${wideGamut(`t=${transfer}:npl=203`, format)},${unknown} -color_trc ${transfer}`;
}

/** The card in the gamut of BT.2020, but no brighter. */
export function bt2020(format: string): string {
  return `-vf ${wideGamut("t=bt709", format)} ${TAGS("bt2020", "bt709", "bt2020nc")}`;
}

function wideGamut(transfer: string, format: string): string {
  const cardIn = "zscale=pin=bt709:tin=bt709:min=gbr:rin=full";
  return `${cardIn}:p=bt2020:m=bt2020nc:r=limited:${transfer},format=${format}`;
}

/** 50 fields a second, woven into 25 frames. */
export function interlaced(format: string, order: "tff" | "bff"): string {
  return bt709(format, `interlace=scan=${order}:lowpass=0,setfield=${order},`);
}

export const X264 = "-c:v libx264 -preset ultrafast -crf 10";
export const AAC = "-c:a aac -b:a 160k";

/** `clockwise` as a phone says it: the frames stay as they are, the track's header tells how to turn them. */
export function turned(clockwise: 90 | 180 | 270): (bytes: Buffer) => Buffer {
  const cos = clockwise === 180 ? -0x1_0000 : 0;
  const sin = clockwise === 90 ? 0x1_0000 : clockwise === 270 ? -0x1_0000 : 0;
  return (bytes) => {
    const edited = Buffer.from(bytes);
    // Version 0 of a tkhd has its matrix 44 bytes after its type. The first track is the picture's.
    const at = edited.indexOf("tkhd") + 44;
    for (const [i, value] of [cos, sin, 0, -sin, cos].entries()) edited.writeInt32BE(value, at + 4 * i);
    return edited;
  };
}

/** Of a picture that is copied: its last frame gets an entry of its own in the table of durations. */
export const lastFrameHalved = (frames: number) =>
  `-bsf:v setts=duration=if(eq(N\\,${frames - 1})\\,DURATION/2\\,DURATION)`;

/** So many ticks, where the picture is the first track and its last frame has an entry of its own. */
export function lastFrameLasts(ticks: number): (bytes: Buffer) => Buffer {
  return (bytes) => {
    const edited = Buffer.from(bytes);
    const at = edited.indexOf("stts");
    const entries = edited.readUInt32BE(at + 8);
    edited.writeUInt32BE(ticks, at + 12 + 8 * (entries - 1) + 4);
    return edited;
  };
}

/** A Dolby Vision configuration behind the decoder's own, `within` the boxes that lead there; the index lies at the end. */
export function withDolbyVision(profile: number, compatibility: number, decoder: "hvcC" | "av1C", entry: string) {
  return (bytes: Buffer) => {
    const box = Buffer.alloc(32);
    box.writeUInt32BE(32, 0);
    box.write(profile < 8 ? "dvcC" : "dvvC", 4, "latin1");
    // Version 1.0; level 1, with metadata in a base layer and no enhancement layer.
    box.set([1, 0, (profile << 1) | 0, (1 << 3) | 0b101, compatibility << 4], 8);
    const at = bytes.indexOf(decoder) - 4;
    const end = at + bytes.readUInt32BE(at);
    const edited = Buffer.concat([bytes.subarray(0, end), box, bytes.subarray(end)]);
    for (const within of ["moov", "trak", "mdia", "minf", "stbl", "stsd", entry]) {
      const size = bytes.lastIndexOf(within, at) - 4;
      edited.writeUInt32BE(bytes.readUInt32BE(size) + 32, size);
    }
    return edited;
  };
}

/** Every sample entry or name `from` becomes `to`, of the same length. */
export function renamed(from: string, to: string): (bytes: Buffer) => Buffer {
  return (bytes) => Buffer.from(bytes.toString("latin1").replaceAll(from, to), "latin1");
}

export function cutTo(share: number): (bytes: Buffer) => Buffer {
  return (bytes) => bytes.subarray(0, Math.floor(bytes.length * share));
}
