/** What the demo knows of one file on its way through, and when each phase of it ended. Pure. */
import type { ProgressFrame, StatusFrame } from "../schemas/api.ts";
import type { Asset } from "../schemas/asset.ts";

/** In the order they end. Times are on the demo's own clock. */
export const PHASES = ["upload", "archive", "wait", "encode", "place", "read back"] as const;
export type Phase = (typeof PHASES)[number];

export type FileState = {
  fileId: string;
  fileName: string;
  sizeBytes: number;
  sentBytes: number;
  asset: Asset | null;
  progress: ProgressFrame | null;
  beganAtMs: number;
  endedAtMs: Partial<Record<Phase, number>>;
  /** Qualities read back so far, and of how many. */
  readBack: { done: number; of: number } | null;
  failure: string | null;
};

export function newFileState(file: { fileId: string; fileName: string; sizeBytes: number }, nowMs: number): FileState {
  return {
    ...file,
    sentBytes: 0,
    asset: null,
    progress: null,
    beganAtMs: nowMs,
    endedAtMs: {},
    readBack: null,
    failure: null,
  };
}

/** The states in which nothing more will happen by itself. */
export function isSettled(asset: Asset): boolean {
  return ["distributed", "failed", "cancelled", "deleted"].includes(asset.state);
}

export function isArchived(rendition: Asset["renditions"][number]): boolean {
  return rendition.status === "archived";
}

/** Which phases an asset's document shows as over. */
export function phasesOver(asset: Asset): Phase[] {
  const over: Phase[] = [];
  if (asset.original !== null) over.push("archive");
  const begun = asset.renditions.some((rendition) => rendition.status !== "wanted");
  if (["transcoding", "distributing", "distributed", "evicted"].includes(asset.state) || begun) over.push("wait");
  const encoded = asset.renditions.length > 0 && asset.renditions.every(isArchived);
  if (encoded) over.push("encode");
  if (asset.state === "distributed") over.push("place");
  return over;
}

function withAsset(state: FileState, asset: Asset, nowMs: number): FileState {
  // Frames may overtake each other across a reconnect: the newest revision stands.
  if (state.asset !== null && asset.revision < state.asset.revision) return state;
  const endedAtMs = { ...state.endedAtMs };
  for (const phase of phasesOver(asset)) endedAtMs[phase] ??= nowMs;
  return { ...state, asset, endedAtMs };
}

export function onFrame(state: FileState, frame: StatusFrame, nowMs: number): FileState {
  switch (frame.type) {
    case "snapshot":
    case "asset":
      return frame.asset.fileId === state.fileId ? withAsset(state, frame.asset, nowMs) : state;
    case "progress":
      return frame.fileId === state.fileId ? { ...state, progress: frame } : state;
    case "batch":
      return frame.frames.reduce((current: FileState, each) => onFrame(current, each, nowMs), state);
    case "alert":
      return state;
  }
}

/** How long each finished phase took: from the end of the one before it. */
export function phaseDurations(state: FileState): { phase: Phase; tookMs: number }[] {
  let fromMs = state.beganAtMs;
  return PHASES.flatMap((phase) => {
    const endedAtMs = state.endedAtMs[phase];
    if (endedAtMs === undefined) return [];
    const tookMs = Math.max(0, endedAtMs - fromMs);
    fromMs = Math.max(fromMs, endedAtMs);
    return [{ phase, tookMs }];
  });
}
