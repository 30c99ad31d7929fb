/** What an encode says for itself: one that ended well, of a source whose length is known, and how it differs. */
import type { RenditionPlan } from "../../../schemas/ladder.ts";
import type { EncodeEvidence, RenditionEvidence } from "../verify.ts";

export function evidence(
  plan: RenditionPlan,
  made: RenditionEvidence | null,
  changes: Partial<Omit<EncodeEvidence, "renditions">> = {},
): EncodeEvidence {
  const endedWell = { exitCode: 0, stderrTail: [], delaySeconds: 0, soundSeconds: null } as const;
  return { ...endedWell, length: "known", damaged: false, ...changes, renditions: [{ plan, made }] };
}
