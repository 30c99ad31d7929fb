/** Where one rendition of one job lies, for signing and for serving misses. Pure. */
import type { StoredAsset } from "../schemas/asset-state.ts";
import { edgeKey, proxyKey } from "../schemas/key.ts";
import type { Quality } from "../schemas/ladder.ts";
import type { ProxyLocation } from "./asset-door.ts";
import { renditionOf } from "./machine/authority.ts";
import { copyOn } from "./machine/placement.ts";

export function proxyLocation(state: StoredAsset | undefined, quality: Quality, jobId: string): ProxyLocation {
  const rendition = state && renditionOf(state, quality);
  const gone = state === undefined || rendition === undefined || state.job.state === "deleted";
  if (gone) return { found: false, superseded: false };
  if (rendition.jobId !== jobId) return { found: false, superseded: true };
  const { etag, sizeBytes } = rendition;
  if (etag === null || sizeBytes === null) return { found: false, superseded: false };
  const copy = copyOn(rendition, "r2");
  return {
    found: true,
    edgeKey: edgeKey(jobId, quality),
    archive: rendition.state === "archived" ? { key: proxyKey(state, quality), etag, sizeBytes } : null,
    sizeBytes,
    edgePlaced: copy?.state === "placed" && copy.jobId === jobId,
    fileName: state.fileName,
  };
}
