/**
 * The runner protocol's side of the Asset object: turns a runner's frames into events and answers them. Holds nothing of
 * its own: what a socket may do follows from the lease that a frame names, so that a session survives hibernation.
 */
import type { Progress } from "../schemas/asset.ts";
import type { StoredAsset } from "../schemas/asset-state.ts";
import type { EventEnvelope } from "../schemas/event.ts";
import type { OriginalKey } from "../schemas/key.ts";
import type { Policy } from "../schemas/policy.ts";
import { type ObjectFrame, RunnerFrame, type RunnerRefusal, type SourceGrant } from "../schemas/runner-protocol.ts";
import type { ApplyResult } from "./asset-door.ts";
import { claimRefusal, leaseRefusal, type Refusal, renditionOf } from "./machine/authority.ts";
import { partListFault } from "./part-list.ts";

type FrameOf<Type extends RunnerFrame["type"]> = Extract<RunnerFrame, { type: Type }>;

export interface RunnerPorts {
  policy: Policy;
  state(): StoredAsset | null;
  commit(envelope: EventEnvelope): ApplyResult;
  /** Stores the part list of an upload and applies its event in one transaction. */
  commitUploaded(envelope: EventEnvelope, uploadId: string, parts: FrameOf<"uploaded">["parts"]): ApplyResult;
  grantSource(original: { key: OriginalKey; sizeBytes: number; etag: string }): Promise<SourceGrant>;
  progressed(progress: Progress, renditions: FrameOf<"progress">["renditions"]): void;
}

/** @returns the answer to one frame; null for text that is no frame, whose socket should be closed. */
export async function answerRunner(text: string, jobId: string, ports: RunnerPorts): Promise<ObjectFrame | null> {
  const frame = parseFrame(text);
  if (frame === null) return null;
  const state = ports.state();
  if (state === null) return refuse(frame.seq, { reason: "unknown", message: "There is no such asset." });
  if (frame.type === "claim") return claim(frame, state, jobId, ports);
  const refusal = leaseRefusal(state, jobId, frame.lease);
  if (refusal !== null && !isRepeat(frame, state)) return refuse(frame.seq, refusal);
  return answerHolder(frame, state, ports);
}

function parseFrame(text: string): RunnerFrame | null {
  try {
    return RunnerFrame.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

const refuse = (seq: number, { reason, message }: Refusal): ObjectFrame => ({ type: "refused", seq, reason, message });

/** A frame sent again because its answer was lost with a socket: what it said may have ended the lease already. */
function isRepeat(frame: Exclude<RunnerFrame, { type: "claim" }>, state: StoredAsset): boolean {
  if (frame.type !== "uploaded") return false;
  const rendition = renditionOf(state, frame.quality);
  const taken = rendition?.state === "uploaded" || rendition?.state === "archived";
  return taken && rendition.sha256?.composite === frame.composite;
}

async function claim(
  frame: FrameOf<"claim">,
  state: StoredAsset,
  jobId: string,
  ports: RunnerPorts,
): Promise<ObjectFrame> {
  const stale: Refusal = { reason: "stale", message: "The asset has another job now." };
  const refusal = state.job.jobId === jobId ? claimRefusal(state, frame.generation) : stale;
  if (refusal !== null) return refuse(frame.seq, refusal);
  if (state.original === null) return refuse(frame.seq, { reason: "not-ready", message: "The original is not there." });
  ports.commit({
    key: null,
    by: `runner:${frame.runnerId}`,
    event: {
      type: "TranscodeClaimed",
      generation: frame.generation,
      runnerId: frame.runnerId,
      encoder: frame.encoder,
    },
  });
  const claimed = ports.state();
  const lease = claimed?.job.lease;
  if (!claimed || !lease) throw new Error("a claim that was not refused must be granted");
  return {
    type: "granted",
    seq: frame.seq,
    lease: lease.token,
    leaseMs: ports.policy.leaseMs,
    generation: claimed.job.generation,
    source: await ports.grantSource(state.original),
    ladder: ports.policy.ladder,
    archived: claimed.renditions.filter(({ state }) => state === "archived").map(({ quality }) => quality),
  };
}

function answerHolder(
  frame: Exclude<RunnerFrame, { type: "claim" }>,
  state: StoredAsset,
  ports: RunnerPorts,
): ObjectFrame {
  const ok: ObjectFrame = { type: "ok", seq: frame.seq };
  const by = `runner:${state.job.lease?.runnerId ?? "unknown"}`;
  const { lease } = frame;
  switch (frame.type) {
    case "resume":
    case "heartbeat":
      ports.commit({ key: null, by, event: { type: "LeaseRenewed", lease, ...readOf(frame) } });
      return ok;
    case "progress": {
      const { percent, fps, speed, etaSeconds, renditions } = frame;
      const { runnerId = "", encoder = "" } = state.job.lease ?? {};
      ports.progressed({ percent, fps, speed, etaSeconds, runnerId, encoder }, renditions);
      return ok;
    }
    case "probed": {
      ports.commit({ key: null, by, event: { type: "SourceProbed", lease, source: frame.source } });
      const encoding = (ports.state()?.renditions ?? []).filter((rendition) => rendition.state === "encoding");
      return { type: "ladder", seq: frame.seq, renditions: encoding.map(({ plan }) => plan) };
    }
    case "uploaded":
      return answerUploaded(frame, state, by, ports);
    case "failed": {
      const { code, message, retryable } = frame;
      const event = { type: "TranscodeFailed", lease, code, message, retryable, ...readOf(frame) } as const;
      ports.commit({ key: `failed:${lease}`, by, event });
      return ok;
    }
    case "release":
      ports.commit({
        key: `released:${lease}`,
        by,
        event: { type: "LeaseReleased", lease, reason: frame.reason, ...readOf(frame) },
      });
      return ok;
  }
}

/** What the lease has read of the original: for the ledger of egress. */
const readOf = ({ sourceBytes }: { sourceBytes?: number | undefined }) =>
  sourceBytes === undefined ? {} : { sourceBytes };

function answerUploaded(frame: FrameOf<"uploaded">, state: StoredAsset, by: string, ports: RunnerPorts): ObjectFrame {
  if (isRepeat(frame, state)) return { type: "ok", seq: frame.seq };
  const no = (reason: RunnerRefusal, message: string) => refuse(frame.seq, { reason, message });
  const rendition = renditionOf(state, frame.quality);
  if (rendition?.upload == null) return no("stale", `No upload of ${frame.quality} is open under this lease.`);
  const fault = partListFault(frame, rendition.upload.partSizeBytes);
  if (fault !== null) return no("failed", fault);
  const { lease, quality, width, height, frames, durationSeconds, sizeBytes, partSizeBytes, composite } = frame;
  const sha256 = { partSizeBytes, parts: frame.parts.length, composite };
  const result = ports.commitUploaded(
    {
      key: `uploaded:${lease}:${quality}`,
      by,
      event: {
        type: "RenditionUploaded",
        ...{ lease, quality, width, height, frames, durationSeconds, sizeBytes, sha256 },
        ...readOf(frame),
      },
    },
    rendition.upload.uploadId,
    frame.parts,
  );
  const taken = result.outcome === "applied" || result.outcome === "duplicate";
  return taken ? { type: "ok", seq: frame.seq } : no("stale", result.reason ?? "The rendition is not awaited.");
}
