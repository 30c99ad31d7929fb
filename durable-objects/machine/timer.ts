/** Every deadline that a state has armed. Derived, so that no timer can be forgotten or outlive its reason. Pure. */
import type { Step, StoredAsset } from "../../schemas/asset-state.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import { type StepRef, stepName } from "../../schemas/step.ts";

export interface Timer {
  /** Unique in an asset: `lease`, `grace`, or the step's name. */
  name: string;
  atMs: number;
  event: AssetEvent;
}

export function timersOf(asset: StoredAsset): Timer[] {
  const { job } = asset;
  const timers: Timer[] = [];
  const arm = (step: Step, ref: StepRef) => {
    if (step.deadlineAtMs === null) return;
    const type = step.phase === "waiting" ? "StepDue" : "StepOverdue";
    timers.push({ name: stepName(ref), atMs: step.deadlineAtMs, event: { type, step: ref, op: step.op } });
  };
  arm(job.archive, { kind: "archive" });
  arm(job.transcode, { kind: "transcode" });
  if (job.lease !== null) {
    timers.push({
      name: "lease",
      atMs: job.lease.expiresAtMs,
      event: { type: "LeaseExpired", generation: job.generation },
    });
  }
  if (job.graceEndsAtMs !== null) {
    timers.push({ name: "grace", atMs: job.graceEndsAtMs, event: { type: "GraceElapsed" } });
  }
  for (const { quality, step, copies } of asset.renditions) {
    arm(step, { kind: "complete", quality });
    for (const copy of copies) arm(copy.step, { kind: "copy", tier: copy.tier, quality });
  }
  return timers;
}
