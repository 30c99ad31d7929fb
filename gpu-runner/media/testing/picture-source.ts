/** The table of sources, first half: what the picture and its file may be. */
import type { AcceptedSource, SourceGroup } from "./accepted-source.ts";
import { PLAIN_SOUND } from "./sound-source.ts";
import {
  AAC,
  BT601_TAGS,
  bt601,
  bt709,
  bt2020,
  card,
  fullRange,
  hdr,
  hdrByTransferAlone,
  interlaced,
  LEFT_HERTZ,
  RIGHT_HERTZ,
  STEREO,
  tones,
  turned,
  X264,
} from "./source-file.ts";

const R360 = { "360p": "640x360" } as const;
const R720 = { "360p": "640x360", "540p": "960x540", "720p": "1280x720" } as const;
const TWO_SECONDS = { fps: "25/1", frames: 50 } as const;
const MUTE = { ...TWO_SECONDS, renditions: R360, sound: null } as const;
const HEARD = { ...TWO_SECONDS, renditions: R360, sound: PLAIN_SOUND } as const;
const PCM = "-c:a pcm_s16le";
/** Builds before 4.3 leave the tags out of a MOV unless they are told to. */
const TAGGED = "-movflags +write_colr";
const FIELDS = card({ fps: "50" });

const plain: readonly AcceptedSource[] = [
  {
    name: "H.264 in MP4, index first",
    steps: [`${card({ size: "1280x720", seconds: 5 })} ${bt709()} ${X264} -movflags +faststart {a.mp4}`],
    ...{ renditions: R720, fps: "25/1", frames: 125, sound: null },
  },
  {
    name: "H.264 in MP4, index at the end",
    steps: [`${card()} ${STEREO} ${bt709()} ${X264} ${AAC} {a.mp4}`],
    ...HEARD,
  },
  {
    name: "H.264 in MP4, fragmented",
    steps: [`${card()} ${STEREO} ${bt709()} ${X264} ${AAC} -g 12 -movflags +frag_keyframe+delay_moov {a.mp4}`],
    needs: ["fragment-edits"],
    ...HEARD,
  },
  { name: "H.264 in Matroska", steps: [`${card()} ${STEREO} ${bt709()} ${X264} ${AAC} {a.mkv}`], ...HEARD },
  {
    name: "H.264 in MPEG-TS",
    steps: [`${card()} ${STEREO} ${bt709()} ${X264} ${AAC} {a.ts}`],
    needs: ["transport-streams"],
    ...HEARD,
  },
  { name: "H.264 in Flash Video", steps: [`${card()} ${STEREO} ${bt709()} ${X264} ${AAC} {a.flv}`], ...HEARD },
  {
    name: "HEVC, 10 bit SDR",
    steps: [`${card()} ${bt709("yuv420p10le")} -c:v libx265 -x265-params log-level=error -tag:v hvc1 {a.mov}`],
    needs: ["encoder:libx265"],
    ...MUTE,
  },
  {
    name: "A file with a cover picture before its video",
    steps: [
      `${card({ seconds: 1 })} -frames:v 1 {cover.jpg}`,
      `${card()} ${bt709()} ${X264} {film.mp4}`,
      "-i {cover.jpg} -i {film.mp4} -map 0 -map 1 -c copy -disposition:v:0 attached_pic -disposition:v:1 default {a.mp4}",
    ],
    ...MUTE,
    note: "The cover is left out.",
  },
  {
    name: "One frame",
    steps: [`${card()} ${bt709()} -frames:v 1 ${X264} {a.mp4}`],
    ...{ ...MUTE, frames: 1 },
  },
  {
    name: "A trimmed MOV (edit list)",
    steps: [
      `${card({ seconds: 4 })} ${bt709()} ${X264} -g 100 {whole.mov}`,
      "-ss 1.4 -i {whole.mov} -c copy -t 2 {a.mov}",
    ],
    ...MUTE,
    note: "Begins where the edit list says, not at the keyframe before.",
  },
  {
    name: "A transport stream that was cut short",
    steps: [
      `${card()} ${bt709()} ${X264} -g 10 -bf 0 {whole.ts}`,
      { from: "whole.ts", to: "a.ts", edit: (bytes) => bytes.subarray(0, Math.floor(bytes.length / 2 / 188) * 188) },
    ],
    needs: ["transport-streams"],
    ...{ ...MUTE, frames: 25 },
    note: "It has no index, so what is there is the whole of it.",
  },
  {
    name: "A transport stream whose picture changes its size",
    steps: [
      ...[
        ["wide", "640x360"],
        ["small", "320x180"],
      ].map(
        ([name, size]) =>
          `${card({ size: size ?? "", seconds: 1 })} ${tones([LEFT_HERTZ, RIGHT_HERTZ], "stereo", 1)} ${bt709()} ` +
          `${X264} ${AAC} {${name}.ts}`,
      ),
      { from: "", to: "list.txt", edit: () => Buffer.from("file wide.ts\nduration 1\nfile small.ts\n") },
      "-f concat -i {list.txt} -c copy {a.ts}",
    ],
    needs: ["transport-streams"],
    ...HEARD,
    note: "Keeps the size that it begins with.",
  },
  {
    name: "A piece of a longer recording in Matroska, which begins at an hour",
    steps: [`${card()} ${STEREO} ${bt709()} ${X264} ${AAC} -output_ts_offset 3600 {a.mkv}`],
    ...HEARD,
  },
  {
    name: "MPEG-4 with B-frames in AVI",
    steps: [`${card()} ${STEREO} ${bt709()} -c:v mpeg4 -q:v 2 -bf 2 ${PCM} {a.avi}`],
    ...HEARD,
    note: "AVI does not say when a frame is shown: the first one is where the sound begins.",
  },
];

const phones: readonly AcceptedSource[] = [
  {
    name: "Variable frame rate, 20 fps on average",
    steps: [
      `${card({ fps: "30", seconds: 3 })} ${bt709("yuv420p", "select='not(between(mod(n,9),2,4))',")} -vsync vfr ${X264} {a.mp4}`,
    ],
    ...{ renditions: R360, fps: "30/1", frames: 90, sound: null },
    note: "Becomes constant, at the lowest standard rate that shows each of its frames.",
  },
  ...([90, 180, 270] as const).map((clockwise) => ({
    name: `Turned by ${clockwise}° in its metadata`,
    steps: [
      `${card()} ${STEREO} ${bt709()} ${X264} ${AAC} {flat.mov}`,
      { from: "flat.mov", to: "a.mov", edit: turned(clockwise) },
    ],
    ...HEARD,
    renditions: clockwise === 180 ? R360 : { "360p": "360x640" },
    note: "Comes out upright, with nothing left to turn.",
  })),
  {
    name: "Portrait",
    steps: [`${card({ size: "720x1280", seconds: 1 })} ${bt709()} ${X264} {a.mp4}`],
    ...{ fps: "25/1", frames: 25, sound: null, colour: "unchecked" },
    renditions: { "360p": "360x640", "540p": "540x960", "720p": "720x1280" },
    note: "A rung is the short side.",
  },
  {
    name: "HEVC, HLG (HDR)",
    steps: [`${card()} ${hdr("arib-std-b67", "yuv420p10le")} -c:v libx265 -x265-params log-level=error {a.mov}`],
    needs: ["encoder:libx265", "filter:zscale"],
    ...{ ...MUTE, colour: "tone-mapped" },
  },
];

const cameras: readonly AcceptedSource[] = [
  {
    name: "MPEG-2 in GXF, interlaced, upper field first",
    steps: [
      `${card({ fps: "50", size: "720x576" })} ${bt601("yuv422p", "interlace=scan=tff:lowpass=0,setfield=tff,setsar=64/45,")} ` +
        `-c:v mpeg2video -b:v 20M -bf 2 -flags +ildct+ilme -top 1 {a.gxf}`,
    ],
    ...{ ...MUTE, renditions: { "360p": "640x360", "540p": "960x540" }, timecode: "00:00:00:00" },
    note: "Its rate is that of frames, though it counts fields.",
  },
  {
    name: "XDCAM-like MPEG-2 4:2:2 in MXF, interlaced, upper field first",
    steps: [
      `${card({ fps: "50", size: "1280x720" })} ${STEREO} ${interlaced("yuv422p", "tff")} -c:v mpeg2video -b:v 40M ` +
        `-flags +ildct+ilme -top 1 ${PCM} -timecode 10:00:00:00 {a.mxf}`,
    ],
    ...{ ...HEARD, renditions: R720, timecode: "10:00:00:00" },
  },
  {
    name: "ProRes 422, interlaced, lower field first",
    steps: [`${FIELDS} ${interlaced("yuv422p10le", "bff")} -c:v prores_ks -profile:v 2 -flags +ildct {a.mov}`],
    ...MUTE,
  },
  {
    name: "AVCHD: H.264 interlaced in MPEG-TS",
    steps: [`${FIELDS} ${STEREO} ${interlaced("yuv420p", "tff")} ${X264} -flags +ildct+ilme -c:a ac3 {a.mts}`],
    needs: ["transport-streams"],
    ...HEARD,
  },
  {
    name: "DV, PAL",
    steps: [
      `${card({ size: "720x576", fps: "50" })} ${STEREO} ` +
        `${bt601("yuv420p", "interlace=scan=bff:lowpass=0,setfield=bff,setsar=16/15,")} -c:v dvvideo ${PCM} -f dv {a.dv}`,
    ],
    needs: ["raw-dv"],
    ...{ ...HEARD, renditions: { "360p": "480x360", "540p": "720x540" }, timecode: "00:00:00:00", colour: "unchecked" },
    note: "Its pixels are wider than high.",
  },
  {
    name: "ProRes 422 HQ, 10 bit SDR",
    steps: [`${card()} ${STEREO} ${bt709("yuv422p10le")} -c:v prores_ks -profile:v 3 ${PCM} {a.mov}`],
    ...HEARD,
  },
  {
    name: "ProRes 4444 with alpha",
    steps: [`${card()} ${bt709("yuva444p10le")} -c:v prores_ks -profile:v 4 {a.mov}`],
    ...MUTE,
    note: "The alpha is left out.",
  },
  {
    name: "DNxHD 1280×720 in MOV",
    steps: [`${card({ size: "1280x720", seconds: 1 })} ${bt709("yuv422p")} -c:v dnxhd -b:v 90M {a.mov}`],
    ...{ renditions: R720, fps: "25/1", frames: 25, sound: null },
  },
  {
    name: "DNxHR HQX, 10 bit, in MXF",
    steps: [`${card()} ${bt709("yuv422p10le")} -c:v dnxhd -profile:v dnxhr_hqx {a.mxf}`],
    ...{ ...MUTE, timecode: "00:00:00:00" },
  },
  {
    name: "CineForm",
    steps: [`${card()} ${bt709("yuv422p10le")} -c:v cfhd {a.mov}`],
    needs: ["encoder:cfhd"],
    ...MUTE,
  },
  {
    name: "Wide pixels (1440×1080 class): 960×720 at 4:3",
    steps: [`${card({ size: "960x720", seconds: 1 })} ${bt709("yuv420p", "setsar=4/3,")} ${X264} {a.mp4}`],
    ...{ renditions: R720, fps: "25/1", frames: 25, sound: null },
  },
  {
    name: "Wide pixels: MPEG-2 PAL at 16:9",
    steps: [
      `${card({ size: "720x576" })} ${bt601("yuv420p", "setsar=64/45,")} ${BT601_TAGS} -c:v mpeg2video -b:v 20M -f vob {a.vob}`,
    ],
    ...{ ...MUTE, renditions: { "360p": "640x360", "540p": "960x540" } },
  },
];

const colours: readonly AcceptedSource[] = [
  {
    name: "HEVC, PQ (HDR10 without mastering data)",
    steps: [`${card()} ${hdr("smpte2084", "yuv420p10le")} -c:v libx265 -x265-params log-level=error {a.mp4}`],
    needs: ["encoder:libx265", "filter:zscale"],
    ...{ ...MUTE, colour: "tone-mapped" },
  },
  {
    name: "ProRes, PQ (HDR)",
    steps: [`${card()} ${hdr("smpte2084", "yuv422p10le")} -c:v prores_ks -profile:v 3 ${TAGGED} {a.mov}`],
    needs: ["filter:zscale"],
    ...{ ...MUTE, colour: "tone-mapped" },
  },
  {
    name: "ProRes, HLG (HDR)",
    steps: [`${card()} ${hdr("arib-std-b67", "yuv422p10le")} -c:v prores_ks -profile:v 3 ${TAGGED} {a.mov}`],
    needs: ["filter:zscale"],
    ...{ ...MUTE, colour: "tone-mapped" },
  },
  {
    name: "HEVC, HLG, of which only the transfer is stated",
    steps: [
      `${card()} ${hdrByTransferAlone("arib-std-b67", "yuv420p10le")} -c:v libx265 -x265-params log-level=error {a.mp4}`,
    ],
    needs: ["encoder:libx265", "filter:zscale"],
    ...{ ...MUTE, colour: "tone-mapped" },
    note: "Taken for BT.2020.",
  },
  {
    name: "ProRes, PQ, of an odd size",
    steps: [
      `${card({ size: "853x481" })} ${hdr("smpte2084", "yuv444p10le")} -c:v prores_ks -profile:v 4 ${TAGGED} {a.mov}`,
    ],
    needs: ["filter:zscale"],
    ...{ ...MUTE, renditions: { "360p": "638x360" }, colour: "tone-mapped" },
  },
  {
    name: "ProRes, BT.2020 without HDR",
    steps: [`${card()} ${bt2020("yuv422p10le")} -c:v prores_ks -profile:v 3 ${TAGGED} {a.mov}`],
    needs: ["filter:zscale"],
    ...MUTE,
    note: "Brought into the gamut of BT.709.",
  },
  { name: "Standard definition, BT.601", steps: [`${card()} ${bt601()} ${BT601_TAGS} ${X264} {a.mp4}`], ...MUTE },
  {
    name: "Standard definition, no colour tags",
    steps: [`${card()} ${bt601()} ${X264} {a.mp4}`],
    ...MUTE,
    note: "Up to 576 lines BT.601 is taken for granted, above BT.709.",
  },
  { name: "Full range, H.264", steps: [`${card()} ${fullRange("yuvj420p")} ${X264} {a.mp4}`], ...MUTE },
  {
    name: "Full range, Motion JPEG in AVI",
    steps: [`${card()} -vf scale=out_color_matrix=bt601:out_range=pc,format=yuvj422p -c:v mjpeg -q:v 2 {a.avi}`],
    ...MUTE,
  },
  { name: "RGB, FFV1 in Matroska", steps: [`${card()} -pix_fmt gbrp10le -c:v ffv1 {a.mkv}`], ...MUTE },
  { name: "RGB, HuffYUV in AVI", steps: [`${card()} -pix_fmt bgra -c:v huffyuv {a.avi}`], ...MUTE },
  { name: "RGB, QuickTime Animation", steps: [`${card()} -pix_fmt argb -c:v qtrle {a.mov}`], ...MUTE },
  {
    name: "Uncompressed 4:2:2, 10 bit (v210)",
    steps: [`${card()} ${bt709("yuv422p10le")} -c:v v210 {a.mov}`],
    ...MUTE,
  },
  {
    name: "Odd size, 853×481",
    steps: [`${card({ size: "853x481" })} ${bt709("yuv444p")} ${X264} {a.mp4}`],
    ...{ ...MUTE, renditions: { "360p": "638x360" } },
    note: "Renditions are even.",
  },
  {
    name: "Smaller than the lowest rung, 211×121",
    steps: [`${card({ size: "211x121" })} ${bt709("yuv444p")} ${X264} {a.mp4}`],
    ...{ ...MUTE, renditions: { "360p": "210x120" }, colour: "unchecked" },
    note: "Keeps its own size; nothing is scaled up.",
  },
  {
    name: "VP9 in WebM",
    steps: [
      `${card()} ${STEREO} ${bt709()} -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 4M -c:a libopus {a.webm}`,
    ],
    needs: ["encoder:libvpx-vp9", "encoder:libopus"],
    ...HEARD,
  },
  {
    name: "VP8 in WebM, recorded live: no duration",
    steps: [`${card()} ${bt601()} -c:v libvpx -deadline realtime -cpu-used 8 -b:v 4M -live 1 {a.webm}`],
    needs: ["encoder:libvpx"],
    ...MUTE,
    note: "Its packets are measured, which reads the file twice.",
  },
  {
    name: "AV1 in MP4",
    steps: [`${card({ seconds: 1 })} ${bt709()} -c:v libsvtav1 -preset 12 -crf 20 {a.mp4}`],
    needs: ["encoder:libsvtav1"],
    ...{ ...MUTE, frames: 25 },
  },
  {
    name: "Animated GIF",
    steps: [`${card()} -f gif {a.gif}`],
    ...{ ...MUTE, colour: "unchecked" },
    note: "Moving pictures are a video; a GIF of one picture becomes a video of one frame.",
  },
];

const rates: readonly AcceptedSource[] = [
  {
    name: "120 fps",
    steps: [`${card({ fps: "120", seconds: 1 })} ${bt709()} ${X264} {a.mp4}`],
    ...{ renditions: R360, fps: "60/1", frames: 60, sound: null },
    note: "Above 60 fps the rate is divided by a whole number.",
  },
  {
    name: "59.94 fps",
    steps: [`${card({ fps: "60000/1001" })} ${bt709()} ${X264} {a.mp4}`],
    ...{ renditions: R360, fps: "60000/1001", frames: 120, sound: null },
  },
  {
    name: "60 fps in Matroska, with sound",
    steps: [`${card({ fps: "60" })} ${STEREO} ${bt709()} ${X264} ${AAC} {a.mkv}`],
    ...{ ...HEARD, fps: "60/1", frames: 120 },
    note: "The picture comes after the AAC encoder's priming, which is longer than a frame: the rendition begins with it.",
  },
  {
    name: "60 fps in Matroska, whose picture begins 50 ms after the sound",
    steps: [`-itsoffset 0.05 ${card({ fps: "60" })} ${STEREO} ${bt709()} ${X264} ${PCM} {a.mkv}`],
    ...{ ...HEARD, fps: "60/1", frames: 120 },
  },
  {
    name: "23.976 fps with timecode",
    steps: [
      `${card({ fps: "24000/1001", size: "960x540", seconds: 5 })} ${bt709()} ${X264} -timecode 01:00:00:00 {a.mov}`,
    ],
    ...{ fps: "24000/1001", frames: 120, sound: null, timecode: "01:00:00:00" },
    renditions: { "360p": "640x360", "540p": "960x540" },
  },
  {
    name: "29.97 fps with drop-frame timecode",
    steps: [`${card({ fps: "30000/1001" })} ${bt709()} ${X264} -timecode 00:59:59;28 {a.mov}`],
    ...{ renditions: R360, fps: "30000/1001", frames: 60, sound: null, timecode: "00:59:59;28" },
  },
];

export const pictureSources: readonly SourceGroup<AcceptedSource>[] = [
  { title: "Files", sources: plain },
  { title: "Phones", sources: phones },
  { title: "Cameras", sources: cameras },
  { title: "Colour, range and size", sources: colours },
  { title: "Frame rates and timecode", sources: rates },
];
