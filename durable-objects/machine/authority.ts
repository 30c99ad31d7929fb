/** Who may act now: questions that consumers and runners ask before they act, answered from the state alone. Pure. */
import type { Step, StoredAsset, StoredRendition } from "../../schemas/asset-state.ts";
import type { RunnerRefusal } from "../../schemas/runner-protocol.ts";
import type { StepRef } from "../../schemas/step.ts";
import { copyOn } from "./placement.ts";
import { isOpen } from "./step-clock.ts";

export interface Refusal {
  reason: RunnerRefusal;
  message: string;
}

export function stepOf(asset: StoredAsset, ref: StepRef): Step | null {
  switch (ref.kind) {
    case "archive":
      return asset.job.archive;
    case "transcode":
      return asset.job.transcode;
    case "complete":
      return renditionOf(asset, ref.quality)?.step ?? null;
    case "copy": {
      const rendition = renditionOf(asset, ref.quality);
      return (rendition && copyOn(rendition, ref.tier))?.step ?? null;
    }
  }
}

/** Whether a command's intent is still the present one. */
export function isCurrent(asset: StoredAsset, ref: StepRef, op: number): boolean {
  const step = stepOf(asset, ref);
  return step !== null && step.op === op && isOpen(step);
}

/** The operation that the present step performs on its key, so that operations of different kinds exclude each other. */
export function verbOf(asset: StoredAsset, ref: StepRef): "complete" | "place" | "remove" | null {
  if (ref.kind === "complete" || ref.kind === "archive") return "complete";
  if (ref.kind === "transcode") return null;
  const rendition = renditionOf(asset, ref.quality);
  const copy = rendition && copyOn(rendition, ref.tier);
  if (copy?.state === "placing") return "place";
  return copy?.state === "removing" ? "remove" : null;
}

/** @returns null when the generation may be claimed now. */
export function claimRefusal({ job }: StoredAsset, generation: number): Refusal | null {
  switch (job.state) {
    case "archived":
      return generation === job.generation
        ? null
        : { reason: "stale", message: `The job is at generation ${job.generation}.` };
    case "transcoding":
      return { reason: "taken", message: "Another runner holds the lease." };
    case "received":
      return { reason: "not-ready", message: "The original is not archived yet." };
    case "encoded":
      return { reason: "finished", message: "The job is done." };
    case "failed":
      return { reason: "failed", message: "The job has failed." };
    case "cancelled":
      return { reason: "cancelled", message: "The job was cancelled." };
    case "deleting":
    case "deleted":
      return { reason: "deleted", message: "The asset is deleted." };
  }
}

/** @returns null when this very lease holds this very job. */
export function leaseRefusal(asset: StoredAsset, jobId: string, lease: string): Refusal | null {
  const { job } = asset;
  if (job.jobId === jobId && job.lease?.token === lease) return null;
  const { state } = job;
  if (state === "cancelled") return { reason: "cancelled", message: "The job was cancelled." };
  if (state === "deleting" || state === "deleted") return { reason: "deleted", message: "The asset is deleted." };
  const handedOver = state === "transcoding" && job.jobId === jobId && job.lease === null;
  if (state === "encoded" || handedOver) return { reason: "finished", message: "Everything is uploaded." };
  return { reason: "stale", message: "The lease is no longer held." };
}

export function renditionOf(asset: StoredAsset, quality: string): StoredRendition | undefined {
  return asset.renditions.find((rendition) => rendition.quality === quality);
}
