/**
 * What a fact that was accepted says about the objects that exist: the evidence of one that was proven, or the end of one
 * that is gone. The method tells what the one who reports has done, no more. Pure.
 */
import type { StoredAsset } from "../schemas/asset-state.ts";
import type { AssetEvent, EventEnvelope, EventOf } from "../schemas/event.ts";
import type { Evidence } from "../schemas/evidence.ts";
import type { JobId, Tier } from "../schemas/id.ts";
import { edgeKey, editorKey, proxyKey } from "../schemas/key.ts";
import { renditionOf } from "./machine/authority.ts";
import { copyOn } from "./machine/placement.ts";

export type EvidenceChange =
  | { type: "found"; evidence: Evidence; jobId: JobId | null }
  | { type: "gone"; tier: Tier; quality: string; jobId: JobId | null };

type Found = Pick<Evidence, "tier" | "quality" | "key" | "sizeBytes" | "etag" | "sha256" | "method"> & {
  jobId: JobId | null;
  isOurs: boolean;
  /** Where it was not written just now. */
  writtenAtMs?: number | null;
};

/** @param state as the event has left it */
export function evidenceChange({ event, by }: EventEnvelope, state: StoredAsset, atMs: number): EvidenceChange | null {
  if (event.type === "CopyRemoved")
    return { type: "gone", tier: event.tier, quality: event.quality, jobId: event.jobId };
  if (event.type === "ArchiveLost") return { type: "gone", tier: "wasabi", quality: event.quality, jobId: event.jobId };
  if (event.type === "OriginalLost") return { type: "gone", tier: "wasabi", quality: "original", jobId: null };
  const found = foundBy(event, state);
  if (found === null) return null;
  const { jobId, isOurs, writtenAtMs, ...facts } = found;
  const iso = (ms: number) => new Date(ms).toISOString();
  const writtenAt = isOurs ? iso(writtenAtMs ?? atMs) : null;
  return { type: "found", jobId, evidence: { ...facts, writtenAt, verifiedAt: iso(atMs), verifiedBy: by } };
}

function foundBy(event: AssetEvent, state: StoredAsset): Found | null {
  switch (event.type) {
    case "OriginalArchived":
      return original(event, state);
    case "OriginalFound":
      return regained(state);
    case "RenditionArchived":
      return archived(event, state);
    case "CopyPlaced":
    case "RemovalCalledOff":
      return placed(event, state);
    default:
      return null;
  }
}

/** It was looked at, no more: what it was verified by before holds as long as its ETag does. */
function regained({ original: known, upload }: StoredAsset): Found | null {
  if (known === null) return null;
  const { key, sizeBytes, etag, sha256, verifiedAtMs } = known;
  const facts = { tier: "wasabi", quality: "original", key, sizeBytes, etag, sha256, jobId: null } as const;
  const isOurs = upload.kind === "url" || upload.key !== key;
  return {
    ...facts,
    isOurs,
    writtenAtMs: verifiedAtMs,
    method: "HEAD: the size and the ETag that were verified before",
  };
}

function original(
  { key, sizeBytes, etag, sha256 }: EventOf<"OriginalArchived">,
  { upload, sha256: announced }: StoredAsset,
) {
  const isOurs = upload.kind === "url" || upload.key !== key;
  const facts = { tier: "wasabi", quality: "original", key, sizeBytes, etag, sha256, jobId: null, isOurs } as const;
  const seen = "HEAD: the announced size; the ETag is pinned";
  if (sha256 !== null) {
    const whole = announced === null ? "" : ", and of the whole file as announced";
    return { ...facts, method: `SHA-256 of every part while it was fetched${whole}; HEAD: size and multipart ETag` };
  }
  return { ...facts, method: upload.kind === "wasabi" && isOurs ? `copied by Wasabi; ${seen}` : seen };
}

function archived({ quality, jobId, etag, sizeBytes }: EventOf<"RenditionArchived">, state: StoredAsset): Found | null {
  const rendition = renditionOf(state, quality);
  if (rendition?.jobId !== jobId || rendition.etag !== etag) return null;
  const { sha256 } = rendition;
  const key = proxyKey(state, quality);
  const method = "HEAD: size, and multipart ETag from the MD5 of every part as its runner wrote it";
  return { tier: "wasabi", quality, key, sizeBytes, etag, sha256, method, jobId, isOurs: true };
}

const copyMethods = {
  r2: "SHA-256 of every part while it was copied from Wasabi",
  lucidlink: "SHA-256 by lucid-agent over the file as it wrote it, then fsync",
} as const;

/** A stray that is removed at once is no copy; one whose removal was called off may never have been told of before. */
function placed(event: EventOf<"CopyPlaced" | "RemovalCalledOff">, state: StoredAsset): Found | null {
  const { tier, quality, jobId, sizeBytes, etag, sha256 } = event;
  const rendition = renditionOf(state, quality);
  const copy = rendition && copyOn(rendition, tier);
  if (copy?.state !== "placed" || copy.jobId !== jobId) return null;
  const key = tier === "r2" ? edgeKey(jobId, quality) : `/${editorKey(state, quality)}`;
  const found = { tier, quality, key, sizeBytes, etag, sha256, jobId, isOurs: true };
  if (event.type === "CopyPlaced") return { ...found, method: copyMethods[tier] };
  return { ...found, method: "HEAD: size, and the SHA-256 that it was placed with", writtenAtMs: copy.placedAtMs };
}
