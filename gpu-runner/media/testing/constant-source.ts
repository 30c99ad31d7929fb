/** Sources of a constant rate whose times are spelled as cameras, phones, browsers and recorders spell them. */
import fc from "fast-check";
import type { Rational } from "../../../schemas/media-probe.ts";
import { lastFrameHalved, lastFrameLasts, type Step } from "./source-file.ts";

const integers: Rational[] = Array.from({ length: 60 }, (_, n) => ({ num: n + 1, den: 1 }));
const film: Rational[] = [24, 30, 48, 60].map((each) => ({ num: each * 1000, den: 1001 }));
const odd: Rational[] = [
  ...[
    { num: 25, den: 2 },
    { num: 15, den: 2 },
    { num: 18_000, den: 1001 },
  ],
  ...[
    { num: 2997, den: 100 },
    { num: 59_940, den: 1001 },
    { num: 1_000_000, den: 33_333 },
  ],
];
const all = [...integers, ...film, ...odd];

/** What each container can carry. MXF knows the rates of broadcast; MPEG-2 in it, too. */
export const RATES = {
  mp4: all,
  mov: all,
  mkv: all,
  webm: all,
  flv: all,
  ts: all,
  avi: all,
  mxf: [24, 25, 30, 50, 60].map((num) => ({ num, den: 1 })).concat(film.filter(({ num }) => num !== 48_000)),
} satisfies Record<string, readonly Rational[]>;

export type ConstantSource = {
  container: keyof typeof RATES;
  rate: Rational;
  /** That are shown; an edit list hides others before them. */
  shown: number;
  /** 0: times as exact as the container has them. Else each is off by up to a millisecond, by this sequence. */
  jitter: number;
  startSeconds: number;
  /** Frames that an edit list hides at the start. */
  hidden: number;
  bFrames: boolean;
  /** The last frame is stated to last no time. */
  lastDurationMissing: boolean;
  sound: boolean;
};

export const MOVIES: ReadonlySet<string> = new Set(["mp4", "mov"]);
/** Whose packets have no time of their own: an index entry is a frame. */
const UNTIMED: ReadonlySet<string> = new Set(["avi", "mxf"]);
/** Keep no start of their own either. */
const STARTS_AT_ZERO: ReadonlySet<string> = new Set(["avi", "mxf"]);

export function shapesOf(container: ConstantSource["container"]): fc.Arbitrary<ConstantSource> {
  const movie = MOVIES.has(container);
  const never = fc.constant(0);
  return fc
    .record({
      container: fc.constant(container),
      rate: fc.constantFrom(...RATES[container]),
      seconds: fc.constantFrom(1, 2, 3),
      jitter: UNTIMED.has(container) ? never : fc.constantFrom(0, 7, 13),
      startSeconds: STARTS_AT_ZERO.has(container) ? never : fc.constantFrom(0, 0, 1.5, 7),
      hidden: movie ? fc.constantFrom(0, 0, 3) : never,
      bFrames: container === "webm" || container === "avi" ? fc.constant(false) : fc.boolean(),
      lastDurationMissing: movie ? fc.boolean() : fc.constant(false),
      sound: fc.boolean(),
    })
    .map(({ seconds, ...shape }) => ({
      ...shape,
      // Of reordered frames the last entry is not the last that is shown, and an edit list would end before it.
      lastDurationMissing: shape.lastDurationMissing && shape.hidden === 0 && !shape.bFrames,
      shown: Math.max(3, Math.round((seconds * shape.rate.num) / shape.rate.den)),
    }));
}

const CODECS: Record<ConstantSource["container"], { picture: string; sound: string }> = {
  ...{ mp4: { picture: "libx264", sound: "aac" }, mov: { picture: "libx264", sound: "pcm_s16le" } },
  ...{ mkv: { picture: "libx264", sound: "aac" }, webm: { picture: "libvpx", sound: "libvorbis" } },
  ...{ flv: { picture: "libx264", sound: "aac" }, ts: { picture: "libx264", sound: "mp2" } },
  ...{ avi: { picture: "mpeg4", sound: "pcm_s16le" }, mxf: { picture: "mpeg2video", sound: "pcm_s16le" } },
};

/** The last step makes it. */
export function constantSource(shape: ConstantSource): Step[] {
  const { container, rate, shown, hidden, jitter, startSeconds, sound, bFrames } = shape;
  const frames = shown + hidden;
  const rateText = `${rate.num}/${rate.den}`;
  const seconds = (frames * rate.den) / rate.num;
  const picture = `-f lavfi -i testsrc2=s=192x108:r=${rateText},trim=end_frame=${frames}`;
  const tone = sound ? ` -f lavfi -i sine=r=48000:d=${seconds}` : "";
  const codec = CODECS[container];
  const x264 = codec.picture === "libx264" ? ` -preset ultrafast -tune zerolatency` : "";
  const b = bFrames ? ` -bf 2` : " -bf 0";
  const sizes = codec.picture === "libvpx" ? " -deadline realtime -cpu-used 8 -b:v 300k" : `${x264}${b}`;
  const audio = sound ? ` -c:a ${codec.sound}` : "";
  // The filter runs in a clock fine enough for a jitter below a millisecond, the encoder in the container's.
  const times = jitter === 0 ? "" : ` -vf settb=1/90000,setpts=PTS+round(90*sin(N*${jitter}))*min(N\\,1)`;
  const clock = jitter === 0 ? "" : " -enc_time_base 1/90000";
  const movie = MOVIES.has(container) ? " -video_track_timescale 90000" : "";
  const exact = MOVIES.has(container) && jitter === 0 ? ` -video_track_timescale ${exactTimescale(rate)}` : movie;
  const first = `whole.${container}`;
  const make = `${picture}${tone}${times} -vsync passthrough${clock} -c:v ${codec.picture} -pix_fmt yuv420p -g 250${sizes}${audio}`;
  const offset = startSeconds > 0 ? ` -output_ts_offset ${startSeconds}` : "";
  if (shape.lastDurationMissing) {
    const [half, last] = [`half.${container}`, `a.${container}`];
    return [
      `${make}${exact} {${first}}`,
      `-i {${first}} -c copy ${lastFrameHalved(shown)}${exact}${offset} {${half}}`,
      { from: half, to: last, edit: lastFrameLasts(1) },
    ];
  }
  if (hidden === 0) return [`${make}${exact}${offset} {a.${container}}`];
  // A copy from between keyframes: the movie keeps what comes before and an edit list hides it.
  const from = ((hidden - 0.25) * rate.den) / rate.num;
  return [`${make}${exact} {${first}}`, `-ss ${from} -i {${first}} -c copy${exact}${offset} {a.${container}}`];
}

/** In which a frame lasts a whole number of ticks. */
function exactTimescale({ num, den }: Rational): number {
  return den === 1 ? num * 512 : num;
}
