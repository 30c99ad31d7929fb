/** The table of sources: files whose headers do not say when their frames are shown, or say it wrongly. */
import type { AcceptedSource, SourceGroup } from "./accepted-source.ts";
import { PLAIN_SOUND } from "./sound-source.ts";
import { AAC, bt709, card, lastFrameHalved, lastFrameLasts, STEREO, tones, X264 } from "./source-file.ts";

const R360 = { "360p": "640x360" } as const;
const MUTE = { fps: "25/1", frames: 50, renditions: R360, sound: null } as const;
const NTSC = { ...MUTE, fps: "30000/1001", frames: 60 } as const;
const THIRTY = { ...MUTE, fps: "30/1", frames: 60 } as const;
const at = (fps: string) => `${card({ fps })} ${bt709()} ${X264}`;
const LONGER_SOUND = tones([440, 1100], "stereo", 2.4);

/** In the headers of the movie and of its picture: two hours. */
function statesWrongLength(bytes: Buffer): Buffer {
  const edited = Buffer.from(bytes);
  for (const name of ["mvhd", "mdhd"]) {
    const header = edited.indexOf(name);
    edited.writeUInt32BE(edited.readUInt32BE(header + 16) * 7200, header + 20);
  }
  return edited;
}

const TS = `${card()} ${STEREO} ${bt709()} ${X264} ${AAC} {one.ts}`;
const repeated = (times: number) => (bytes: Buffer) => Buffer.concat(Array.from({ length: times }, () => bytes));
const SUBTITLE = "1\n00:00:00,000 --> 00:00:03,000\nA title\n";

const rates: readonly AcceptedSource[] = [
  {
    name: "29.97 fps in MP4, whose last frame is shorter",
    steps: [`${at("30000/1001")} {whole.mp4}`, `-i {whole.mp4} -c copy ${lastFrameHalved(60)} {a.mp4}`],
    needs: ["bsf:setts"],
    ...NTSC,
    note: "The rate is the interval that nearly all frames have.",
  },
  {
    name: "29.97 fps in MOV, whose last frame lasts no time at all",
    steps: [
      `${at("30000/1001")} {whole.mov}`,
      `-i {whole.mov} -c copy ${lastFrameHalved(60)} {half.mov}`,
      { from: "half.mov", to: "a.mov", edit: lastFrameLasts(1) },
    ],
    needs: ["bsf:setts"],
    ...NTSC,
  },
  {
    name: "30 fps in WebM, by milliseconds",
    steps: [`${card({ fps: "30" })} ${bt709()} -c:v libvpx -b:v 4M {a.webm}`],
    ...THIRTY,
  },
  {
    name: "30 fps in WebM, recorded live by milliseconds",
    steps: [`${card({ fps: "30" })} ${bt709()} -c:v libvpx -b:v 4M -live 1 {a.webm}`],
    ...THIRTY,
  },
  {
    name: "30 fps in Matroska, of which no frame states a length",
    steps: [`${at("30")} {whole.mkv}`, { from: "whole.mkv", to: "a.mkv", edit: withoutDefaultDuration }],
    ...THIRTY,
  },
  {
    name: "A transport stream that begins at 25 fps and goes on at 50",
    steps: [`${rising(50, 5)} ${bt709()} ${X264} -vsync passthrough {a.ts}`],
    needs: ["transport-streams"],
    ...{ ...MUTE, fps: "50/1", frames: 400 },
    note: "Encoded once more, by the higher rate: no frame is left out.",
  },
  {
    name: "A live WebM that begins at 15 fps and goes on at 30",
    steps: [`${rising(30, 7)} ${bt709()} -vsync passthrough -c:v libvpx -b:v 4M -live 1 {a.webm}`],
    ...{ ...MUTE, fps: "30/1", frames: 240 },
  },
  { name: "12 fps in MP4", steps: [`${at("12")} {a.mp4}`], ...MUTE, fps: "12/1", frames: 24 },
  { name: "59.94 fps in Matroska", steps: [`${at("60000/1001")} {a.mkv}`], ...MUTE, fps: "60000/1001", frames: 120 },
];

/** Eight seconds, of which the first have every other frame. */
function rising(fps: number, slowSeconds: number): string {
  return `-f lavfi -i testsrc2=s=640x360:r=${fps}:d=8,format=gbrp,select='lt(mod(n\\,2)\\,1)+gte(t\\,${slowSeconds})'`;
}

/** DefaultDuration (23 E3 83) becomes an element that readers skip (Void would be EC). */
function withoutDefaultDuration(bytes: Buffer): Buffer {
  const edited = Buffer.from(bytes);
  const at = edited.indexOf(Buffer.from([0x23, 0xe3, 0x83]));
  const length = 4 + ((edited[at + 3] ?? 0) & 0x7f);
  edited.fill(0, at, at + length);
  edited[at] = 0xec;
  edited[at + 1] = 0x80 | (length - 2);
  return edited;
}

const lengths: readonly AcceptedSource[] = [
  {
    name: "Sound that outlasts the picture, in Flash Video",
    steps: [`${card()} ${LONGER_SOUND} ${bt709()} ${X264} ${AAC} {a.flv}`],
    ...{ ...MUTE, seconds: 2.4, sound: PLAIN_SOUND },
  },
  {
    name: "Sound that outlasts the picture, in Matroska without tags",
    steps: [`${card()} ${LONGER_SOUND} ${bt709()} ${X264} ${AAC} -map_metadata -1 -fflags +bitexact {a.mkv}`],
    ...{ ...MUTE, seconds: 2.4, sound: PLAIN_SOUND },
  },
  {
    name: "A fragmented MP4 that states two hours",
    steps: [
      `${card()} ${bt709()} ${X264} -g 12 -movflags +frag_keyframe+empty_moov {whole.mp4}`,
      { from: "whole.mp4", to: "a.mp4", edit: statesWrongLength },
    ],
    ...MUTE,
  },
  {
    name: "Two transport streams in one file, whose clock starts again",
    steps: [TS, { from: "one.ts", to: "a.ts", edit: repeated(2) }],
    needs: ["transport-streams"],
    ...{ ...MUTE, frames: 100, sound: PLAIN_SOUND },
  },
  {
    name: "Three transport streams in one file, whose clock starts again twice",
    steps: [TS, { from: "one.ts", to: "a.ts", edit: repeated(3) }],
    needs: ["transport-streams"],
    ...{ ...MUTE, frames: 150, sound: PLAIN_SOUND },
  },
];

const starts: readonly AcceptedSource[] = [
  {
    name: "A fragmented MP4 whose reordered picture begins two frames after its sound",
    steps: [
      `${card()} ${STEREO} ${bt709()} ${X264} -bf 2 ${AAC} -movflags +frag_keyframe+empty_moov -use_editlist 0 {a.mp4}`,
    ],
    ...{ ...MUTE, sound: PLAIN_SOUND },
    note: "The rendition begins with the picture.",
  },
  {
    name: "Matroska that begins with a subtitle, before its picture",
    steps: [
      { from: "", to: "title.srt", edit: () => Buffer.from(SUBTITLE) },
      `-itsoffset 0.3 ${card()} -itsoffset 0.3 ${STEREO} -i {title.srt} -map 0 -map 1 -map 2 ${bt709()} ${X264} ${AAC} -c:s subrip {a.mkv}`,
    ],
    ...{ ...MUTE, sound: PLAIN_SOUND },
  },
  {
    name: "A trimmed HEVC movie that begins between keyframes, of open groups",
    steps: [
      `${card({ seconds: 4 })} ${bt709()} -c:v libx265 -x265-params log-level=error:open-gop=1:keyint=25:bframes=3 -tag:v hvc1 {whole.mp4}`,
      "-ss 1.3 -i {whole.mp4} -c copy {a.mov}",
    ],
    needs: ["encoder:libx265"],
    ...{ ...MUTE, frames: 67 },
  },
];

const bare: readonly AcceptedSource[] = [
  { name: "H.264 without a container", steps: [`${at("25")} -f h264 {a.h264}`], ...MUTE },
  {
    name: "HEVC without a container",
    steps: [`${card()} ${bt709()} -c:v libx265 -x265-params log-level=error -f hevc {a.hevc}`],
    needs: ["encoder:libx265"],
    ...MUTE,
  },
  {
    name: "Motion JPEG without a container",
    steps: [
      `${card()} -vf scale=out_color_matrix=bt601:out_range=pc,format=yuvj420p -c:v mjpeg -q:v 2 -f mjpeg {a.mjpeg}`,
    ],
    ...{ ...MUTE, colour: "unchecked" },
    note: "Three pictures or more; one alone is a still image.",
  },
  {
    name: "MPEG-2 with B-frames, without a container",
    steps: [`${card()} ${bt709()} -c:v mpeg2video -bf 2 -q:v 2 -f mpeg2video {a.m2v}`],
    ...MUTE,
  },
  {
    name: "DV without a container",
    steps: [
      `${card({ size: "720x576" })} ${STEREO} -vf format=yuv420p -c:v dvvideo -c:a pcm_s16le -ar 48000 -f dv {a.dv}`,
    ],
    ...{
      ...MUTE,
      renditions: { "360p": "480x360", "540p": "720x540" },
      colour: "unchecked",
      sound: PLAIN_SOUND,
      timecode: "00:00:00:00",
    },
  },
];

export const oddTimeSources: readonly SourceGroup<AcceptedSource>[] = [
  { title: "Rates that headers state wrongly", sources: rates },
  { title: "Lengths that headers state wrongly", sources: lengths },
  { title: "Beginnings", sources: starts },
  { title: "Streams without a container", sources: bare },
];
