/** What is known of one file as it is tried. */
import type { EncodedRendition } from "../../gpu-runner/media/encode-job.ts";
import type { EncodeProgress } from "../../gpu-runner/media/encode-progress.ts";
import type { RenditionLook } from "../../gpu-runner/media/testing/rendition-look.ts";
import type {
  FrameMatch,
  Level,
  PictureLikeness,
  Rate,
  SoundLag,
} from "../../gpu-runner/media/testing/source-compare.ts";
import type { Quality, RenditionPlan } from "../../schemas/ladder.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";

export type Fault = { what: string; why: string };

export type Comparison = {
  rate: Rate;
  frames: FrameMatch;
  /** By track and channel. */
  sourceLevels: Level[][];
  levels: Level[];
  lag: SoundLag | null;
  pictures: { quality: Quality; likeness: PictureLikeness | null; why: string | null }[];
  look: RenditionLook;
};

export type Trial = {
  file: string;
  source: SourceProbe | null;
  plans: RenditionPlan[];
  progress: EncodeProgress | null;
  stage: "reading" | "encoding" | "comparing" | "done";
  renditions: EncodedRendition[];
  warnings: string[];
  refusal: { code: string; message: string } | null;
  comparison: Comparison | null;
  faults: Fault[];
};

export const newTrial = (file: string): Trial => ({
  ...{ file, source: null, plans: [], progress: null, stage: "reading" },
  ...{ renditions: [], warnings: [], refusal: null, comparison: null, faults: [] },
});
