/**
 * The ladder: which renditions a deployment makes (LadderPolicy) and what each is for one source (RenditionPlan).
 * Deciding one from the other is `plan-ladder.ts`.
 */
import { z } from "zod";
import { Rational } from "./media-probe.ts";

const MIB = 1024 ** 2;

/** From lowest to highest. */
export const QUALITIES = ["360p", "540p", "720p", "1080p", "2160p"] as const;
export const Quality = z.enum(QUALITIES);
export type Quality = z.infer<typeof Quality>;

/** 0 for the lowest: for sorting, and for "highest rendition of". */
export function qualityRank(quality: Quality): number {
  return QUALITIES.indexOf(quality);
}

export const Rung = z.strictObject({
  quality: Quality,
  shortSidePx: z.int().min(2).max(4096),
  /** Cap of the video's bit rate; the rate-control buffer is twice this. */
  maxRateBps: z.int().min(100_000).max(100_000_000),
  /** Constant quality: `crf` for libx264, `cq` for NVENC. */
  crf: z.int().min(0).max(51),
  cq: z.int().min(0).max(51),
});
export type Rung = z.infer<typeof Rung>;

/** Measured at VMAF 93 to 98 with libx264, each at its own size. */
const defaultRungs: Rung[] = [
  { quality: "360p", shortSidePx: 360, maxRateBps: 800_000, crf: 22, cq: 23 },
  { quality: "540p", shortSidePx: 540, maxRateBps: 1_600_000, crf: 22, cq: 23 },
  { quality: "720p", shortSidePx: 720, maxRateBps: 3_000_000, crf: 22, cq: 23 },
  { quality: "1080p", shortSidePx: 1080, maxRateBps: 6_000_000, crf: 22, cq: 23 },
  { quality: "2160p", shortSidePx: 2160, maxRateBps: 18_000_000, crf: 22, cq: 23 },
];

export const LadderPolicy = z.strictObject({
  rungs: z.array(Rung).min(1).max(QUALITIES.length).superRefine(checkRise).default(defaultRungs),
  audioBitrateBps: z.int().min(32_000).max(512_000).default(128_000),
  keyframeSeconds: z.number().positive().max(10).default(2),
  maxFps: z.int().min(24).max(120).default(60),
  /** Longest side of a rendition: H.264 on NVENC and in browsers ends here. */
  maxLongSidePx: z.int().min(640).max(8192).default(4096),
  /** A few of them are in memory for each rendition under way. */
  partSizeBytes: z
    .int()
    .min(5 * MIB)
    .max(64 * MIB)
    .default(6 * MIB),
});
export type LadderPolicy = z.infer<typeof LadderPolicy>;

/** Each rung is above the one before, in every respect; what is not names its own field. */
function checkRise(rungs: readonly Rung[], ctx: z.RefinementCtx): void {
  for (const [i, rung] of rungs.entries()) {
    const below = rungs[i - 1];
    if (below === undefined) continue;
    const fault = (field: keyof Rung) =>
      ctx.addIssue({ code: "custom", path: [i, field], message: `must be above that of ${below.quality} before it` });
    if (qualityRank(rung.quality) <= qualityRank(below.quality)) fault("quality");
    if (rung.shortSidePx <= below.shortSidePx) fault("shortSidePx");
    if (rung.maxRateBps <= below.maxRateBps) fault("maxRateBps");
  }
}

export const defaultLadder: LadderPolicy = LadderPolicy.parse({});

/** One rendition to be made of one source: everything the encoder needs, nothing left to decide. */
export const RenditionPlan = z.strictObject({
  quality: Quality,
  width: z.int().min(2).multipleOf(2),
  height: z.int().min(2).multipleOf(2),
  fps: Rational,
  /** True when frames must be dropped or repeated to reach `fps`. */
  resample: z.boolean(),
  gop: z.int().positive(),
  keyframeSeconds: z.number().positive(),
  maxRateBps: z.int().positive(),
  crf: z.int().min(0).max(51),
  cq: z.int().min(0).max(51),
  /** null: the source has no sound. */
  audioBitrateBps: z.int().positive().nullable(),
  /** Starting timecode, only where it is still true at `fps`. */
  timecode: z.string().nullable(),
  expectedFrames: z.int().positive(),
  expectedDurationSeconds: z.number().positive(),
  partSizeBytes: z.int().positive(),
});
export type RenditionPlan = z.infer<typeof RenditionPlan>;
