/** Decides whether an encode is whole. ffmpeg's exit status alone proves nothing. Pure. */
import type { RenditionPlan } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import type { SourceDamage } from "../../schemas/source-damage.ts";
import type { EncodeFailure } from "./encode-failure.ts";

export type EncodeEvidence = {
  /** null: killed by a signal. */
  exitCode: number | null;
  stderrTail: readonly string[];
  /** How much of the picture's stated length may lie before its first frame: some containers state when it ends. */
  delaySeconds: number;
  length: LengthTrust;
  /** Some of it does not decode, which is told: then frames may end early. */
  damaged: boolean;
  /** How long the sound that was encoded is, where the source says so. */
  soundSeconds: number | null;
  renditions: readonly {
    plan: RenditionPlan;
    /** null where the stream never became a file: it broke off, or nobody connected. */
    made: RenditionEvidence | null;
  }[];
};

export type RenditionEvidence = {
  frames: number;
  pictureSeconds: number;
  /** null: there is no sound in it. */
  soundEndSeconds: number | null;
  /** What came of decoding its beginning and its end; null when all was well. */
  decodeTrouble: string | null;
};

/** Sources state durations loosely; below half a per cent, but at least two frames, nothing is missing. */
export function missingFramesAllowed(expectedFrames: number): number {
  return Math.max(2, Math.floor(expectedFrames * 0.005));
}

/**
 * How much the picture's length is to be believed. `known`: counted in an index, or stated for the picture itself. `hint`:
 * stated for the whole file, whose sound or subtitles may outlast its picture. `guessed`: of a stream, whose clock may jump.
 */
export type LengthTrust = "known" | "hint" | "guessed";

/** Of a length that is a hint: a film of which less arrives has lost its end. */
const HINT_SHARE = 0.5;

function leastFrames(expectedFrames: number, delayFrames: number, length: LengthTrust): number {
  const most = expectedFrames - delayFrames - missingFramesAllowed(expectedFrames);
  return { known: most, hint: Math.min(most, expectedFrames * HINT_SHARE), guessed: 0 }[length];
}

/** The shortest track's, as any may be the one that is encoded; null where one does not say. */
export function statedSoundSeconds({ audio }: Pick<SourceProbe, "audio">): number | null {
  const stated = audio.filter(({ codec }) => codec !== "unknown").map(({ durationSeconds }) => durationSeconds ?? 0);
  return stated.length > 0 ? Math.min(...stated) || null : null;
}

/** In seconds. A sound track's stated length is often that of the recording, not of the sound in it. */
export function missingSoundAllowed(statedSeconds: number): number {
  return Math.max(2, statedSeconds * 0.02);
}

export const UNDECODABLE: EncodeFailure = {
  code: "INVALID_MEDIA",
  message: "Next to nothing of the file can be decoded: it is damaged, or its media was never written.",
  retryable: false,
};

/**
 * Where the sound should go on and does not, though ffmpeg ended well and all of the source was delivered: the source states
 * more than it has. null where it is as long as it should be.
 */
export function missingSound({ renditions, soundSeconds, length }: EncodeEvidence): SourceDamage | null {
  if (soundSeconds === null) return null;
  for (const { plan, made } of renditions) {
    if (plan.audioBitrateBps === null || made === null) continue;
    const ends = made.soundEndSeconds ?? 0;
    // By a clock that may jump, sound is due for as long as there is a picture.
    const dueSeconds = length === "guessed" ? Math.min(soundSeconds, made.pictureSeconds) : soundSeconds;
    if (ends < dueSeconds - missingSoundAllowed(dueSeconds)) {
      return { fromSeconds: Math.round(ends * 1000) / 1000, toSeconds: dueSeconds, what: "sound" };
    }
  }
  return null;
}

/** null when every rendition is whole. */
export function verifyEncode(evidence: EncodeEvidence): EncodeFailure | null {
  if (isUndecodable(evidence)) return UNDECODABLE;
  if (evidence.exitCode !== 0) {
    return { code: "ENCODER_FAILED", message: encoderMessage(evidence), retryable: true };
  }
  for (const { plan, made } of evidence.renditions) {
    const failure = made === null ? brokenOff(plan) : verifyRendition(plan, made, evidence);
    if (failure) return failure;
  }
  return null;
}

const NO_PICTURE = /^Cannot determine format of input .* after EOF/;
const DECODE_ERROR = /^Error while decoding stream #0:|Error submitting packet to decoder/;

/** The source's fault, whoever encodes it: no runner may be judged by it. */
function isUndecodable({ exitCode, stderrTail, renditions }: EncodeEvidence): boolean {
  if (exitCode === null) return false;
  if (exitCode !== 0) return stderrTail.some((line) => NO_PICTURE.test(line));
  const nothingCame = renditions.length > 0 && renditions.every(({ made }) => made === null);
  return nothingCame && decodeErrorIn(stderrTail) !== null;
}

/** What ffmpeg said of a packet that it could not decode; null when its last words are of none. */
export function decodeErrorIn(stderrTail: readonly string[]): string | null {
  return stderrTail.find((line) => DECODE_ERROR.test(line)) ?? null;
}

function brokenOff({ quality }: RenditionPlan): EncodeFailure {
  const message = `ffmpeg ended well, but its ${quality} stream broke off.`;
  return { code: "ENCODER_FAILED", message, retryable: true };
}

function verifyRendition(
  plan: RenditionPlan,
  { frames, pictureSeconds, decodeTrouble }: RenditionEvidence,
  { delaySeconds, length, damaged }: EncodeEvidence,
): EncodeFailure | null {
  const { quality, fps, expectedFrames } = plan;
  const framesSeconds = (frames * fps.den) / fps.num;
  const delayFrames = Math.ceil((delaySeconds * fps.num) / fps.den);
  if (!damaged && frames < leastFrames(expectedFrames, delayFrames, length)) {
    const message =
      `Only ${frames} of ${expectedFrames} frames could be decoded: the original is cut off or damaged after ` +
      `${framesSeconds.toFixed(1)} seconds.`;
    return { code: "TRUNCATED", message, retryable: false };
  }
  // The rate is constant, so the length follows from the frames; a timestamp that jumped would show here.
  if (Math.abs(pictureSeconds - framesSeconds) > (2 * fps.den) / fps.num) {
    const message =
      `The ${quality} rendition's ${frames} frames last ${pictureSeconds.toFixed(2)} seconds, ` +
      `not ${framesSeconds.toFixed(2)}.`;
    return { code: "OUTPUT_INCOMPLETE", message, retryable: true };
  }
  if (decodeTrouble === null) return null;
  return { code: "ENCODER_FAILED", message: `The ${quality} rendition is damaged: ${decodeTrouble}.`, retryable: true };
}

function encoderMessage({ exitCode, stderrTail }: EncodeEvidence): string {
  const how = exitCode === null ? "was killed" : `ended with status ${exitCode}`;
  const why = stderrTail.slice(-3).join(" | ").slice(0, 600);
  return `ffmpeg ${how}${why ? `: ${why}` : "."}`;
}
