/** The table of sources, second half: what sound and other tracks may be beside the picture. */
import type { AcceptedSource, Sound, SourceGroup } from "./accepted-source.ts";
import { AAC, bt709, card, LEFT_HERTZ, RIGHT_HERTZ, renamed, STEREO, tones, X264 } from "./source-file.ts";

export const PLAIN_SOUND: Sound = { is: "stereo", left: [LEFT_HERTZ], right: [RIGHT_HERTZ] };

/** Every tone that a source of the table has. */
export const TONES = [LEFT_HERTZ, RIGHT_HERTZ, 2000, 3000, 4000, 5000] as const;

const OUT = { renditions: { "360p": "640x360" }, fps: "25/1", frames: 50 } as const;
const PICTURE = `${bt709()} ${X264}`;
const MONO = TONES.map((hertz) => tones([hertz], "mono"));
const [FIRST, SECOND, THIRD, FOURTH] = MONO;
export const both = (is: string, ...heard: number[]): Sound => ({ is, left: heard, right: heard });

const sounds: readonly AcceptedSource[] = [
  { name: "No sound", steps: [`${card()} ${PICTURE} {a.mp4}`], ...OUT, sound: null },
  {
    name: "One mono track",
    steps: [`${card()} ${FIRST} ${PICTURE} ${AAC} {a.mp4}`],
    ...OUT,
    sound: { ...both("on both sides, at its own level", LEFT_HERTZ), levels: [[LEFT_HERTZ, 0.2, 0.2]] },
  },
  {
    name: "5.1",
    steps: [
      `${card()} ${tones([LEFT_HERTZ, RIGHT_HERTZ, 2000, 0, 3000, 4000], "5.1")} ${PICTURE} -c:a ac3 -b:a 448k {a.mov}`,
    ],
    ...OUT,
    sound: {
      is: "mixed to stereo, centre on both sides, 3 dB lower",
      levels: [[2000, 0.141, 0.141]],
      left: [LEFT_HERTZ, 2000, 3000],
      right: [RIGHT_HERTZ, 2000, 4000],
    },
  },
  {
    name: "Several stereo tracks",
    steps: [`${card()} ${STEREO} ${tones([2000, 3000], "stereo")} -map 0 -map 1 -map 2 ${PICTURE} ${AAC} {a.mov}`],
    ...OUT,
    sound: { ...PLAIN_SOUND, is: "the first track" },
  },
  {
    name: "Two mono tracks",
    steps: [`${card()} ${FIRST} ${SECOND} -map 0 -map 1 -map 2 ${PICTURE} -c:a pcm_s24le {a.mov}`],
    ...OUT,
    sound: { ...PLAIN_SOUND, is: "stereo: the first left, the second right" },
    note: "Two microphones of a camera, or its left and right.",
  },
  {
    name: "Four mono tracks, in MXF",
    steps: [
      `${card()} ${FIRST} ${SECOND} ${THIRD} ${FOURTH} -map 0 -map 1 -map 2 -map 3 -map 4 ${bt709("yuv422p")} ` +
        "-c:v mpeg2video -b:v 20M -c:a pcm_s24le {a.mxf}",
    ],
    ...{ ...OUT, timecode: "00:00:00:00" },
    sound: { is: "1 and 3 left, 2 and 4 right", left: [LEFT_HERTZ, 2000], right: [RIGHT_HERTZ, 3000] },
  },
  {
    name: "Two mono tracks, the second one shorter",
    steps: [
      `${card()} ${FIRST} ${tones([RIGHT_HERTZ], "mono", 1.2)} -map 0 -map 1 -map 2 ${PICTURE} -c:a pcm_s16le {a.mov}`,
    ],
    ...OUT,
    sound: { ...PLAIN_SOUND, is: "stereo, to the end of the longer one" },
  },
  {
    name: "Mono tracks in two languages",
    steps: [
      `${card()} ${FIRST} ${SECOND} -map 0 -map 1 -map 2 -metadata:s:a:0 language=eng -metadata:s:a:1 language=fra ` +
        `${PICTURE} ${AAC} {a.mov}`,
    ],
    ...OUT,
    sound: both("the first track, on both sides", LEFT_HERTZ),
  },
  {
    name: "One track of four discrete channels",
    steps: [
      `${card()} ${tones([LEFT_HERTZ, RIGHT_HERTZ, 2000, 3000], "4.0")} -map 0 -map 1 ${bt709("yuv422p")} ` +
        "-c:v mpeg2video -b:v 20M -c:a pcm_s16le {a.mxf}",
    ],
    ...{ ...OUT, timecode: "00:00:00:00" },
    sound: { is: "1 and 3 left, 2 and 4 right", left: [LEFT_HERTZ, 2000], right: [RIGHT_HERTZ, 3000] },
  },
  {
    name: "One track of twelve channels",
    steps: [
      `${card()} -f lavfi -i aevalsrc=${Array.from({ length: 12 }, (_, i) => (i === 11 ? "0.2*sin(440*2*PI*t)" : i === 0 ? "0.2*sin(1100*2*PI*t)" : "0")).join("|")}:s=48000:d=2 ` +
        `${PICTURE} -c:a pcm_s16le {a.mkv}`,
    ],
    ...OUT,
    sound: { is: "odd ones left, even ones right", left: [RIGHT_HERTZ], right: [LEFT_HERTZ] },
  },
  {
    name: "A first track in an unknown codec",
    steps: [
      `${card()} ${tones([2000], "mono")} ${STEREO} -map 0 -map 1 -map 2 ${PICTURE} -c:a:0 pcm_s16le -c:a:1 aac {known.mov}`,
      { from: "known.mov", to: "a.mov", edit: renamed("sowt", "zzzz") },
    ],
    ...OUT,
    sound: { ...PLAIN_SOUND, is: "the first track that can be decoded" },
  },
  {
    name: "A first track for which there is no decoder",
    steps: [
      `${card()} ${tones([2000], "mono")} ${STEREO} -map 0 -map 1 -map 2 ${PICTURE} -c:a:0 pcm_s16le -c:a:1 aac {known.mov}`,
      { from: "known.mov", to: "a.mov", edit: renamed("sowt", "ac-4") },
    ],
    ...OUT,
    sound: { ...PLAIN_SOUND, is: "the first track that can be decoded" },
  },
  {
    name: "Sound that begins late",
    steps: [`${card()} -itsoffset 0.5 ${tones([LEFT_HERTZ, RIGHT_HERTZ], "stereo", 1.5)} ${PICTURE} ${AAC} {a.mp4}`],
    ...OUT,
    sound: { ...PLAIN_SOUND, is: "stereo, in its time", startsSeconds: 0.5 },
  },
  {
    name: "Sound longer than the picture",
    steps: [`${card()} ${tones([LEFT_HERTZ, RIGHT_HERTZ], "stereo", 3)} ${PICTURE} ${AAC} {a.mp4}`],
    ...{ ...OUT, seconds: 3 },
    sound: { ...PLAIN_SOUND, is: "stereo, to its end" },
  },
  {
    name: "Picture longer than the sound",
    steps: [`${card()} ${tones([LEFT_HERTZ, RIGHT_HERTZ], "stereo", 1)} ${PICTURE} ${AAC} {a.mp4}`],
    ...OUT,
    sound: PLAIN_SOUND,
  },
  {
    name: "Picture that begins late",
    steps: [`-itsoffset 0.4 ${card({ seconds: 1.6 })} ${STEREO} ${PICTURE} ${AAC} {a.mp4}`],
    ...OUT,
    sound: PLAIN_SOUND,
    note: "The first picture stands until its time has come.",
  },
  {
    name: "A hole in the sound",
    steps: [
      `${card()} -f lavfi -i aevalsrc=gt(t\\,1.5)*0.2*sin(440*2*PI*t)|gt(t\\,1.5)*0.2*sin(1100*2*PI*t):s=48000:d=2,` +
        `aselect='not(between(t,0.3,1.2))' -map 0 -map 1 ${PICTURE} -c:a pcm_s16le {a.mkv}`,
    ],
    ...OUT,
    sound: { ...PLAIN_SOUND, is: "stereo, the hole filled with silence", startsSeconds: 1.5 },
  },
];

const tracks: readonly AcceptedSource[] = [
  {
    name: "Timecode track, sound and subtitles",
    steps: [
      { from: "", to: "words.srt", edit: () => Buffer.from("1\n00:00:00,000 --> 00:00:01,000\nWords\n") },
      `${card()} ${STEREO} -i {words.srt} -map 0 -map 1 -map 2 ${PICTURE} ${AAC} -c:s mov_text -timecode 11:22:33:10 {a.mov}`,
    ],
    ...{ ...OUT, timecode: "11:22:33:10" },
    sound: PLAIN_SOUND,
    note: "Subtitles are left out.",
  },
  {
    name: "Chapters",
    steps: [
      {
        from: "",
        to: "chapters.txt",
        edit: () => Buffer.from(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=1\ntitle=One\n"),
      },
      `${card()} -f ffmetadata -i {chapters.txt} -map 0 -map_chapters 1 ${PICTURE} {a.mp4}`,
    ],
    ...OUT,
    sound: null,
    note: "Chapters are left out.",
  },
];

export const soundSources: readonly SourceGroup<AcceptedSource>[] = [
  { title: "Sound", sources: sounds },
  { title: "Other tracks", sources: tracks },
];
