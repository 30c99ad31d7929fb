/** The commands of the copy machine, and the ground that each needs: a rendition verified in Wasabi. */
import type { ArchivedProxy } from "../../schemas/command.ts";
import { edgeKey, editorKey, proxyKey } from "../../schemas/key.ts";
import type { TransferStage } from "../../schemas/transfer.ts";
import type { Draft } from "./rule.ts";
import type { CopySubject } from "./subject.ts";
import { probingStages } from "./transfer.ts";

export function archivedProxy({ asset }: Draft, { rendition }: CopySubject): ArchivedProxy | null {
  const { etag, sizeBytes, sha256, quality } = rendition;
  if (rendition.state !== "archived" || etag === null || sizeBytes === null || sha256 === null) return null;
  return { key: proxyKey(asset, quality), etag, sizeBytes, sha256 };
}

/** @param stages of a copy on R2; the agent moves LucidLink's as a whole */
export function commandPlace(
  draft: Draft,
  subject: CopySubject,
  stages: readonly TransferStage[] = probingStages(subject.copy.step),
): void {
  const source = archivedProxy(draft, subject);
  if (source === null) throw new Error("a copy is placed only from a verified Wasabi object");
  const { rendition, copy } = subject;
  const common = { op: copy.step.op, quality: rendition.quality, jobId: rendition.jobId, source };
  if (copy.tier === "lucidlink") {
    draft.effects.push({ type: "PlaceEditorCopy", key: editorKey(draft.asset, rendition.quality), ...common });
    return;
  }
  const key = edgeKey(rendition.jobId, rendition.quality);
  const rush = copy.reason === "viewer";
  for (const stage of stages) draft.effects.push({ type: "PlaceEdgeCopy", key, ...common, stage, rush });
}

/** An agent that has begun goes on by itself: it is asked how it stands rather than told again. */
export function commandPlaceOrCheck(draft: Draft, subject: CopySubject, begun: boolean): void {
  const source = archivedProxy(draft, subject);
  const { rendition, copy } = subject;
  if (copy.tier === "r2" || !begun || source === null) {
    commandPlace(draft, subject);
    return;
  }
  draft.effects.push({
    type: "CheckEditorCopy",
    op: copy.step.op,
    quality: rendition.quality,
    jobId: rendition.jobId,
    key: editorKey(draft.asset, rendition.quality),
    source,
  });
}

/** Rule 2: only while Wasabi holds it or its verified successor, or when the asset is deleted anyway. */
export const mayRemove = (draft: Draft, subject: CopySubject) =>
  draft.asset.job.state === "deleted" || archivedProxy(draft, subject) !== null;

export function commandRemove(draft: Draft, subject: CopySubject): void {
  if (!mayRemove(draft, subject)) throw new Error("a copy is removed only while Wasabi holds its rendition");
  const { rendition, copy } = subject;
  const common = { op: copy.step.op, quality: rendition.quality, jobId: copy.jobId };
  const deleted = draft.asset.job.state === "deleted";
  draft.effects.push(
    copy.tier === "r2"
      ? {
          type: "RemoveEdgeCopy",
          key: edgeKey(copy.jobId, rendition.quality),
          archive: deleted ? null : archivedProxy(draft, subject),
          keepIfPinned: !deleted && copy.jobId === rendition.jobId,
          ...common,
        }
      : { type: "RemoveEditorCopy", key: editorKey(draft.asset, rendition.quality), ...common },
  );
}
