/** Steps: the units of work that are commanded, watched, deferred and retried. One name each, used in problems and keys. */
import { z } from "zod";
import { CopyTier } from "./id.ts";
import { Quality } from "./ladder.ts";

export const StepRef = z.discriminatedUnion("kind", [
  /** Verify or bring in the original. */
  z.object({ kind: z.literal("archive") }),
  /** Have a runner encode. */
  z.object({ kind: z.literal("transcode") }),
  /** Complete and verify a rendition's upload in Wasabi, or restore it there. */
  z.object({ kind: z.literal("complete"), quality: Quality }),
  /** Place, check or remove a copy. */
  z.object({ kind: z.literal("copy"), tier: CopyTier, quality: Quality }),
]);
export type StepRef = z.infer<typeof StepRef>;

/** archive · transcode · complete:720p · r2:360p · lucidlink:1080p */
export function stepName(step: StepRef): string {
  switch (step.kind) {
    case "archive":
    case "transcode":
      return step.kind;
    case "complete":
      return `complete:${step.quality}`;
    case "copy":
      return `${step.tier}:${step.quality}`;
  }
}
