/** Projects the stored state to the public Asset. Pure. */
import type { Asset, Copy, Problem, Progress, Rendition } from "../../schemas/asset.ts";
import type { Step, StoredAsset, StoredCopy, StoredRendition } from "../../schemas/asset-state.ts";
import { heardSound } from "../../schemas/heard-sound.ts";
import { edgeKey, editorKey, proxyKey } from "../../schemas/key.ts";
import type { SourceProbe } from "../../schemas/media-probe.ts";
import type { Policy } from "../../schemas/policy.ts";
import { describeDamage } from "../../schemas/source-damage.ts";
import { type StepRef, stepName } from "../../schemas/step.ts";
import { assetStatus } from "./asset-status.ts";
import { evictAfterMs, pinnedUntilMs } from "./retention.ts";

const iso = (atMs: number) => new Date(atMs).toISOString();
const isoOrNull = (atMs: number | null) => (atMs === null ? null : iso(atMs));

export function linksOf(fileId: string): Asset["links"] {
  const self = `/v1/assets/${fileId}`;
  return { self, status: `${self}/status`, history: `${self}/history` };
}

export function viewAsset(asset: StoredAsset, revision: number, policy: Policy, progress: Progress | null): Asset {
  const { job, original, source } = asset;
  return {
    fileId: asset.fileId,
    clientName: asset.clientName,
    projectName: asset.projectName,
    fileName: asset.fileName,
    sizeBytes: asset.sizeBytes,
    state: assetStatus(asset),
    revision,
    generation: job.generation,
    jobId: job.jobId,
    problem: worstProblem(asset),
    original: original && {
      tier: "wasabi",
      key: original.key,
      sizeBytes: original.sizeBytes,
      etag: original.etag,
      verifiedAt: iso(original.verifiedAtMs),
    },
    source: source && {
      container: source.container,
      durationSeconds: source.durationSeconds,
      width: source.width,
      height: source.height,
      fps: source.fps.num / source.fps.den,
      ...(source.vfr ? { vfr: true as const } : {}),
      videoCodec: source.videoCodec,
      ...(source.videoWhy === undefined ? {} : { videoWhy: source.videoWhy }),
      ...viewSound(source),
      ...(source.damage === undefined ? {} : { damage: source.damage }),
      rotation: source.rotation,
      hdr: source.hdr,
      timecode: source.timecode,
    },
    renditions: asset.renditions.map((rendition) => viewRendition(asset, rendition, policy)),
    progress: job.lease === null ? null : progress,
    createdAt: iso(asset.createdAtMs),
    updatedAt: iso(asset.updatedAtMs),
    links: linksOf(asset.fileId),
  };
}

function viewSound({ audio }: SourceProbe): Pick<NonNullable<Asset["source"]>, "audio" | "audioWhy"> {
  const heard = heardSound(audio);
  const why = heard === null && audio.length > 0 ? "no sound track can be decoded" : heard?.why;
  return {
    audio: audio.map(({ codec, channels, language }, index) => ({
      ...{ codec, channels, language: language ?? null },
      ...(audio.length > 1 && heard?.tracks.includes(index) ? { heard: true as const } : {}),
    })),
    ...(why == null ? {} : { audioWhy: why }),
  };
}

function viewRendition(asset: StoredAsset, rendition: StoredRendition, policy: Policy): Rendition {
  const { quality } = rendition;
  return {
    quality,
    status: rendition.state,
    jobId: rendition.jobId,
    width: rendition.width ?? rendition.plan.width,
    height: rendition.height ?? rendition.plan.height,
    frames: rendition.frames,
    durationSeconds: rendition.durationSeconds,
    sizeBytes: rendition.sizeBytes,
    sha256: rendition.sha256,
    copies: [
      archiveCopy(asset, rendition),
      ...rendition.copies.map((copy) => viewCopy(asset, rendition, copy, policy)),
    ],
  };
}

const archiveStatus = {
  wanted: "wanted",
  encoding: "wanted",
  uploaded: "placing",
  archived: "placed",
  missing: "placing",
  failed: "failed",
} as const;

function archiveCopy(asset: StoredAsset, rendition: StoredRendition): Copy {
  return {
    tier: "wasabi",
    key: proxyKey(asset, rendition.quality),
    status: archiveStatus[rendition.state],
    placedAt: isoOrNull(rendition.verifiedAtMs),
    verifiedAt: isoOrNull(rendition.verifiedAtMs),
    lastAccessAt: null,
    evictAfter: null,
    pinnedUntil: null,
    problem: viewProblem(rendition.step, { kind: "complete", quality: rendition.quality }),
  };
}

function viewCopy(asset: StoredAsset, rendition: StoredRendition, copy: StoredCopy, policy: Policy): Copy {
  const { quality } = rendition;
  return {
    tier: copy.tier,
    key: copy.tier === "r2" ? edgeKey(copy.jobId, quality) : `/${editorKey(asset, quality)}`,
    status: copy.state,
    placedAt: isoOrNull(copy.placedAtMs),
    verifiedAt: isoOrNull(copy.verifiedAtMs),
    lastAccessAt: isoOrNull(copy.lastAccessAtMs),
    evictAfter: isoOrNull(evictAfterMs(asset, copy, { days: policy.retentionDays[quality], pinnedUntilMs: null })),
    pinnedUntil: isoOrNull(pinnedUntilMs(asset, copy)),
    problem: viewProblem(copy.step, { kind: "copy", tier: copy.tier, quality }),
  };
}

function viewProblem(step: Step, ref: StepRef): Problem | null {
  if (step.problem === null) return null;
  const { code, message, sinceAtMs, retryable } = step.problem;
  const waiting = step.phase === "waiting" ? step.deadlineAtMs : null;
  return { step: stepName(ref), code, message, since: iso(sinceAtMs), retryable, nextAttemptAt: isoOrNull(waiting) };
}

/**
 * A lost original before anything else; then the original's before the encode's, before a rendition's, before a copy's;
 * last what is damaged in the source, which holds nothing up.
 */
function worstProblem({ job, original, source, renditions, createdAtMs }: StoredAsset): Problem | null {
  if (original?.loss !== undefined) {
    const { code, message, sinceAtMs } = original.loss;
    return { step: "original", code, message, since: iso(sinceAtMs), retryable: false, nextAttemptAt: null };
  }
  const inOrder: [Step, StepRef][] = [
    [job.archive, { kind: "archive" }],
    [job.transcode, { kind: "transcode" }],
    ...renditions.map(({ step, quality }): [Step, StepRef] => [step, { kind: "complete", quality }]),
    ...renditions.flatMap(({ copies, quality }) =>
      copies.map(({ step, tier }): [Step, StepRef] => [step, { kind: "copy", tier, quality }]),
    ),
  ];
  for (const [step, ref] of inOrder) {
    const problem = viewProblem(step, ref);
    if (problem !== null) return problem;
  }
  if (source?.damage === undefined) return null;
  const since = iso(original?.verifiedAtMs ?? createdAtMs);
  const message = describeDamage(source.damage);
  return { step: "source", code: "SOURCE_DAMAGED", message, since, retryable: false, nextAttemptAt: null };
}
