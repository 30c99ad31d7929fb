/** Decides the renditions of one source: sizes, frame rate, keyframe spacing, part size. Pure. */
import { heardSound } from "./heard-sound.ts";
import type { LadderPolicy, RenditionPlan, Rung } from "./ladder.ts";
import type { Rational, SourceProbe } from "./media-probe.ts";

const STANDARD_RATES: readonly Rational[] = [
  { num: 24000, den: 1001 },
  { num: 24, den: 1 },
  { num: 25, den: 1 },
  { num: 30000, den: 1001 },
  { num: 30, den: 1 },
  { num: 48, den: 1 },
  { num: 50, den: 1 },
  { num: 60000, den: 1001 },
  { num: 60, den: 1 },
];

/** S3 stops at 10,000 parts; the margin is for a file that outgrows its rate cap. */
const MAX_PLANNED_PARTS = 9_000;
const MIB = 1024 * 1024;

/** Renditions from lowest to highest; always at least one. Nothing is ever scaled up. */
export function planLadder(source: SourceProbe, policy: LadderPolicy): RenditionPlan[] {
  const rate = outputRate(source, policy.maxFps);
  return sizesFor(source, policy).map(({ rung, width, height }) => ({
    quality: rung.quality,
    width,
    height,
    fps: rate.fps,
    resample: rate.resample,
    gop: Math.max(1, Math.round(ratio(rate.fps) * policy.keyframeSeconds)),
    keyframeSeconds: policy.keyframeSeconds,
    maxRateBps: rung.maxRateBps,
    crf: rung.crf,
    cq: rung.cq,
    audioBitrateBps: heardSound(source.audio) === null ? null : policy.audioBitrateBps,
    timecode: rate.sameMotion ? timecodeAt(source.timecode, rate.fps) : null,
    expectedFrames: Math.max(1, Math.round(source.videoDurationSeconds * ratio(rate.fps))),
    expectedDurationSeconds: source.durationSeconds,
    partSizeBytes: partSizeFor(source, rung, policy),
  }));
}

type Sized = { rung: Rung; width: number; height: number };

/** A rung is the short side, so that a portrait clip gets the same rungs as a landscape one. */
function sizesFor(source: SourceProbe, policy: LadderPolicy): Sized[] {
  const short = Math.min(source.width, source.height);
  const long = Math.max(source.width, source.height);
  const fitting = policy.rungs
    .filter((rung) => rung.shortSidePx <= short)
    .map((rung) => ({
      rung,
      short: even(rung.shortSidePx),
      long: even((long * rung.shortSidePx) / short),
    }))
    .filter((size) => size.long <= policy.maxLongSidePx);
  const lowest = policy.rungs[0];
  if (fitting.length === 0 && lowest) {
    // Own size, rounded down so that nothing is scaled up; a panorama comes down until its long side fits.
    const scale = Math.min(1, policy.maxLongSidePx / long, lowest.shortSidePx / short);
    fitting.push({
      rung: lowest,
      short: evenDown(short * scale),
      long: evenDown(long * scale),
    });
  }
  return fitting.map(({ rung, short, long }) =>
    source.width >= source.height ? { rung, width: long, height: short } : { rung, width: short, height: long },
  );
}

const even = (px: number) => Math.max(2, Math.round(px / 2) * 2);
const evenDown = (px: number) => Math.max(2, Math.floor(px / 2) * 2);
const ratio = (rational: Rational) => rational.num / rational.den;

/** `sameMotion`: every frame of the source is kept, whatever its rate is called. */
type OutputRate = { fps: Rational; resample: boolean; sameMotion: boolean };

/**
 * A variable rate becomes the lowest standard one whose interval is no longer than the source's shortest usual one, so that
 * every frame that stands so long is shown; at most `maxFps`. A constant rate stays, or above the cap is divided by an
 * integer, so that motion stays even.
 */
function outputRate(source: SourceProbe, maxFps: number): OutputRate {
  if (source.vfr) {
    const wanted = Math.min(ratio(source.fps) * 0.9999, maxFps);
    const next = STANDARD_RATES.find((rate) => ratio(rate) >= wanted && ratio(rate) <= maxFps);
    return { fps: next ?? { num: maxFps, den: 1 }, resample: true, sameMotion: false };
  }
  const fps = snapToStandard(source.fps);
  // 60.01 is a camera's 60, not a reason to halve.
  const divisor = Math.ceil(ratio(fps) / (maxFps * 1.001));
  if (divisor > 1) return { fps: reduce({ num: fps.num, den: fps.den * divisor }), resample: true, sameMotion: false };
  return { fps, resample: Math.abs(ratio(fps) - ratio(source.fps)) > 1e-9, sameMotion: true };
}

/** 2997/100 and 19001/634 are how some writers spell 30000/1001. */
function snapToStandard(fps: Rational): Rational {
  return STANDARD_RATES.find((rate) => Math.abs(ratio(rate) / ratio(fps) - 1) < 0.00005) ?? reduce(fps);
}

function reduce({ num, den }: Rational): Rational {
  let [a, b] = [num, den];
  while (b > 0) [a, b] = [b, a % b];
  return { num: num / a, den: den / a };
}

/** A timecode that ffmpeg would refuse at this rate fails the whole encode, so it is left out. */
function timecodeAt(timecode: string | null, fps: Rational): string | null {
  const match = /^(\d{2}:\d{2}:\d{2})([:;.])(\d{2})$/.exec(timecode ?? "");
  if (!match || !STANDARD_RATES.some((rate) => rate.num === fps.num && rate.den === fps.den)) return null;
  const dropFrame = match[2] !== ":";
  if (dropFrame && !(fps.den === 1001 && (fps.num === 30000 || fps.num === 60000))) return null;
  return Number(match[3]) < Math.round(ratio(fps)) ? timecode : null;
}

function partSizeFor(source: SourceProbe, rung: Rung, policy: LadderPolicy): number {
  const bitsPerSecond = rung.maxRateBps + policy.audioBitrateBps;
  const largestBytes = (bitsPerSecond / 8) * source.durationSeconds;
  const needed = Math.ceil(largestBytes / MAX_PLANNED_PARTS / MIB) * MIB;
  return Math.max(policy.partSizeBytes, needed);
}
