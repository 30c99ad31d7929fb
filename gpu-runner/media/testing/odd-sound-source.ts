/** The table of sources: sound whose tracks and channels are more than a plain recording's. */
import type { AcceptedSource, Sound, SourceGroup } from "./accepted-source.ts";
import { both, PLAIN_SOUND } from "./sound-source.ts";
import { AAC, bt709, card, LEFT_HERTZ, RIGHT_HERTZ, STEREO, tones, X264 } from "./source-file.ts";

const OUT = { renditions: { "360p": "640x360" }, fps: "25/1", frames: 50 } as const;
const PICTURE = `${bt709()} ${X264}`;
const CARD = `${card()}`;
const SURROUND = [LEFT_HERTZ, RIGHT_HERTZ, 2000, 5000, 3000, 4000];
const SIX = SURROUND.map((hertz) => tones([hertz], "mono")).join(" ");
const FIVE_ONE: Sound = {
  is: "mixed to stereo as 5.1",
  left: [LEFT_HERTZ, 2000, 3000],
  right: [RIGHT_HERTZ, 2000, 4000],
  levels: [[2000, 0.141, 0.141]],
};
const maps = (tracks: number) => Array.from({ length: tracks + 1 }, (_, i) => `-map ${i}`).join(" ");
const each = (option: (track: number) => string, tracks: number) =>
  Array.from({ length: tracks }, (_, i) => option(i)).join(" ");
const LABELS = ["FL", "FR", "FC", "LFE", "SL", "SR"];
const TITLES = ["L", "R", "C", "LFE", "Ls", "Rs"];
const SILENCE = "-f lavfi -i aevalsrc=0|0:s=48000:d=2:c=stereo";
/** Of so many channels or tracks, those from 0 that have a tone. */
const few = (count: number, sounding: Readonly<Record<number, number>>) =>
  Array.from({ length: count }, (_, i) => sounding[i] ?? 0);
const LOUD = "-f lavfi -i aevalsrc=0.9*sin(440*2*PI*t):s=48000:d=2";

const layouts: readonly AcceptedSource[] = [
  {
    name: "Two channels, front left and front centre",
    steps: [`${CARD} ${tones([LEFT_HERTZ, RIGHT_HERTZ], "FL+FC")} ${PICTURE} -c:a pcm_s16le {a.mov}`],
    ...OUT,
    sound: { is: "each at its place", left: [LEFT_HERTZ, RIGHT_HERTZ], right: [RIGHT_HERTZ] },
  },
  {
    name: "7.1",
    steps: [
      `${CARD} ${tones([LEFT_HERTZ, RIGHT_HERTZ, 2000, 0, 3000, 4000, 0, 0], "7.1")} ${PICTURE} -c:a pcm_s16le {a.mov}`,
    ],
    ...OUT,
    sound: { ...FIVE_ONE, is: "mixed to stereo" },
  },
  {
    name: "Six mono tracks with the places of 5.1",
    steps: [
      `${CARD} ${SIX} ${maps(6)} ${each((i) => `-filter:a:${i} aformat=channel_layouts=${LABELS[i]}`, 6)} ` +
        `${PICTURE} -c:a pcm_s16le {a.mov}`,
    ],
    ...OUT,
    sound: FIVE_ONE,
  },
  {
    name: "Six mono tracks whose titles are the places of 5.1",
    steps: [
      `${CARD} ${SIX} ${maps(6)} ${each((i) => `-metadata:s:a:${i} title=${TITLES[i]}`, 6)} ${PICTURE} -c:a pcm_s16le {a.mkv}`,
    ],
    ...OUT,
    sound: FIVE_ONE,
  },
  {
    name: "Ambisonics, a voice from the left",
    steps: [
      `${CARD} -f lavfi -i aevalsrc=${Array.from({ length: 2 }, () => "0.2*sin(440*2*PI*t)").join("|")}|0|0:s=48000:d=2 ` +
        `${PICTURE} -c:a libopus -mapping_family 2 -b:a 256k {a.mkv}`,
    ],
    needs: ["encoder:libopus", "ambisonics"],
    ...OUT,
    sound: { ...both("louder on the left", LEFT_HERTZ), levels: [[LEFT_HERTZ, 0.241, 0.0414]] },
  },
];

const levels: readonly AcceptedSource[] = [
  {
    name: "One loud microphone on four mono tracks",
    steps: [`${CARD} ${each(() => LOUD, 4)} ${maps(4)} ${PICTURE} -c:a pcm_s16le {a.mov}`],
    ...OUT,
    sound: { ...both("on both sides, never above full scale", LEFT_HERTZ), levels: [[LEFT_HERTZ, 0.9, 0.9]] },
  },
  {
    name: "5.1, loud on every channel",
    steps: [
      `${CARD} -f lavfi -i aevalsrc=${each(() => "0.9*sin(440*2*PI*t)", 6).replaceAll(" ", "|")}:s=48000:d=2:c=5.1 ` +
        `${PICTURE} -c:a pcm_s16le {a.mov}`,
    ],
    ...OUT,
    sound: { ...both("on both sides, never above full scale", LEFT_HERTZ), levels: [[LEFT_HERTZ, 0.9, 0.9]] },
  },
  {
    name: "Sixteen mono tracks, two with sound",
    steps: [
      `${CARD} ${few(16, { 2: LEFT_HERTZ, 3: RIGHT_HERTZ })
        .map((hertz) => tones([hertz], "mono"))
        .join(" ")} ` + `${maps(16)} ${PICTURE} -c:a pcm_s16le {a.mov}`,
    ],
    ...OUT,
    sound: { ...PLAIN_SOUND, is: "the two at their own level" },
  },
  {
    name: "One track of eight channels, one with sound",
    steps: [
      `${CARD} ${tones(few(8, { 5: LEFT_HERTZ }), "octagonal")} ${bt709("yuv422p")} -c:v mpeg2video -b:v 20M -c:a pcm_s16le {a.mxf}`,
    ],
    ...{ ...OUT, timecode: "00:00:00:00" },
    sound: { ...both("on both sides, at its own level", LEFT_HERTZ), levels: [[LEFT_HERTZ, 0.2, 0.2]] },
  },
];

const choices: readonly AcceptedSource[] = [
  {
    name: "A first track that is disabled",
    steps: [
      `${CARD} ${tones([2000], "mono")} ${tones([LEFT_HERTZ], "mono")} ${maps(2)} -disposition:a:0 0 -disposition:a:1 default ` +
        `${PICTURE} ${AAC} {a.mov}`,
    ],
    ...OUT,
    sound: both("the default one, on both sides", LEFT_HERTZ),
  },
  {
    name: "A first track of silence",
    steps: [`${CARD} ${SILENCE} ${STEREO} ${maps(2)} ${PICTURE} ${AAC} {a.mov}`],
    ...OUT,
    sound: { ...PLAIN_SOUND, is: "the track with sound in it" },
  },
  {
    name: "A commentary first",
    steps: [
      `${CARD} ${tones([2000], "mono")} ${STEREO} ${maps(2)} -disposition:a:0 comment -disposition:a:1 0 ${PICTURE} ${AAC} {a.mkv}`,
    ],
    needs: ["comment-flag"],
    ...OUT,
    sound: { ...PLAIN_SOUND, is: "the film's" },
  },
  {
    name: "Two programmes in one transport stream, each with mono sound",
    steps: [
      `${CARD} ${card({ size: "320x180" })} ${tones([LEFT_HERTZ], "mono")} ${tones([2000], "mono")} ${maps(3)} ` +
        `-program program_num=1:st=0:st=2 -program program_num=2:st=1:st=3 ${PICTURE} -c:a mp2 {a.ts}`,
    ],
    needs: ["transport-streams"],
    ...OUT,
    sound: both("of the programme whose picture is shown", LEFT_HERTZ),
  },
  {
    name: "Sound that begins after twelve seconds in a transport stream",
    steps: [
      `${card({ seconds: 13 })} -itsoffset 12 ${tones([LEFT_HERTZ, RIGHT_HERTZ], "stereo", 1)} -map 0 -map 1 ${PICTURE} ${AAC} {a.ts}`,
    ],
    needs: ["transport-streams"],
    ...{ ...OUT, frames: 325 },
    sound: { ...PLAIN_SOUND, is: "stereo, in its time", startsSeconds: 12 },
  },
  {
    name: "Sound that begins after ten megabytes of Flash Video",
    steps: [
      `${card({ seconds: 13 })} -itsoffset 12 ${tones([LEFT_HERTZ, RIGHT_HERTZ], "stereo", 1)} -map 0 -map 1 ${bt709()} ` +
        `-c:v libx264 -preset ultrafast -b:v 8M -minrate 8M -maxrate 8M -bufsize 1M -x264-params nal-hrd=cbr ${AAC} {a.flv}`,
    ],
    ...{ ...OUT, frames: 325 },
    sound: { ...PLAIN_SOUND, is: "stereo, in its time", startsSeconds: 12 },
  },
];

export const oddSoundSources: readonly SourceGroup<AcceptedSource>[] = [
  { title: "Channels and their places", sources: layouts },
  { title: "Levels of sound", sources: levels },
  { title: "Sound tracks", sources: choices },
];
