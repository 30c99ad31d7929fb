/** What is wrong with a rendition, judged by its comparison with the source. Pure. */
import type { Comparison, Fault, Trial } from "./trial-state.ts";

const MOST_LAG_MS = 20;
const MOST_MIXED_DIFFERENCE_DB = 6;
/** Mono and stereo keep their own level. */
const MOST_PLAIN_DIFFERENCE_DB = 1.5;
const QUIET_DB = -55;
/** AAC may overshoot a full-scale source by a little. */
const FULL_SCALE_DB = 0.5;
const LEAST_SSIM = 0.85;

export function faultsOf({ plans, source }: Pick<Trial, "plans" | "source">, comparison: Comparison): Fault[] {
  const { frames, rate, lag, pictures } = comparison;
  const faults: Fault[] = [];
  const add = (what: string, why: string) => faults.push({ what, why });
  const kept = plans[0] !== undefined && (rate.medianFps ?? 0) <= (plans[0].fps.num / plans[0].fps.den) * 1.02;
  // Over a hole the last good picture is repeated.
  if (source?.damage !== undefined) return [];
  if (rate.constant && kept && (frames.missing > 0 || frames.repeated !== rate.gapFrames)) {
    add("frames", `${frames.in} in, ${frames.out} out: ${frames.missing} not shown, ${frames.repeated} repeated`);
  } else if (kept && frames.missing > frames.in * 0.01) add("frames", `${frames.missing} of ${frames.in} not shown`);
  for (const [where, ms] of [["start", lag?.startMs] as const, ["end", lag?.endMs] as const]) {
    if (ms != null && Math.abs(ms) > MOST_LAG_MS) add("sync", `at the ${where} the sound is ${ms} ms late`);
  }
  for (const level of levelFaults(comparison)) add("level", level);
  for (const { quality, likeness, why } of pictures) {
    if (likeness === null) add("picture", `${quality} could not be compared: ${why}`);
    else if (likeness.ssim < LEAST_SSIM)
      add("picture", `${quality} is unlike its source: SSIM ${likeness.ssim.toFixed(3)}`);
  }
  return faults;
}

function levelFaults({ sourceLevels, levels }: Comparison): string[] {
  const rms = sourceLevels.flat().map(({ rmsDb }) => rmsDb);
  const loudest = Math.max(Number.NEGATIVE_INFINITY, ...rms);
  const made = Math.max(Number.NEGATIVE_INFINITY, ...levels.map(({ rmsDb }) => rmsDb));
  const peak = Math.max(Number.NEGATIVE_INFINITY, ...levels.map(({ peakDb }) => peakDb));
  const faults: string[] = [];
  const audible = sourceLevels.filter((channels) => channels.some(({ peakDb }) => peakDb > -80));
  const isPlain = audible.length === 1 && (audible[0]?.length ?? 0) <= 2 && loudest > QUIET_DB;
  if (loudest > -80 && levels.length === 0) return ["the source has sound, the rendition has none"];
  if (loudest > -80 && Math.abs(made - loudest) > (isPlain ? MOST_PLAIN_DIFFERENCE_DB : MOST_MIXED_DIFFERENCE_DB)) {
    faults.push(
      `${made.toFixed(1)} dB RMS on the louder side, ${loudest.toFixed(1)} dB in the source's loudest channel`,
    );
  }
  if (peak > FULL_SCALE_DB) faults.push(`peaks at ${peak.toFixed(1)} dB above full scale`);
  return faults;
}
