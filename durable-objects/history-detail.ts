/** What history keeps of an event: enough to tell a person what happened, no checksums by the hundred, no secrets. Pure. */
import type { AssetEvent } from "../schemas/event.ts";
import { stepName } from "../schemas/step.ts";

export function historyDetail(event: AssetEvent): Record<string, unknown> {
  switch (event.type) {
    case "UploadNoticed": {
      const { source, ...rest } = event.upload;
      return { ...rest, source: source.kind === "url" ? { kind: "url", url: withoutQuery(source.url) } : source };
    }
    case "SourceProbed":
      return {
        container: event.source.container,
        durationSeconds: event.source.durationSeconds,
        width: event.source.width,
        height: event.source.height,
        videoCodec: event.source.videoCodec,
      };
    case "StepDeferred":
    case "StepFailed":
      return { step: stepName(event.step), code: event.code, message: event.message };
    case "StepBegan":
    case "StepDue":
    case "StepOverdue":
      return { step: stepName(event.step) };
    case "TransferOpened": {
      const { key, parts, partSizeBytes } = event.plan;
      return { step: stepName(event.step), key, parts, partSizeBytes };
    }
    case "PartsMoved":
      return { step: stepName(event.step), parts: event.parts.map(({ n }) => n) };
    case "UploadOpened":
      return { quality: event.quality, key: event.key };
    case "RenditionUploaded":
      return { quality: event.quality, frames: event.frames, sizeBytes: event.sizeBytes, ...readOf(event) };
    case "TranscodeFailed":
      return { code: event.code, message: event.message, ...readOf(event) };
    case "PriorityChanged":
      return { priority: event.priority };
    case "LeaseReleased":
      return { reason: event.reason, ...readOf(event) };
    case "LeaseRenewed":
      return readOf(event);
    case "LeaseExpired":
    case "RetryRequested":
    case "CancelRequested":
    case "DeleteRequested":
    case "UndeleteRequested":
    case "GraceElapsed":
      return {};
    case "OriginalArchived":
    case "OriginalLost":
    case "OriginalFound":
    case "TranscodeClaimed":
    case "RenditionArchived":
    case "ArchiveLost":
    case "CopyPlaced":
    case "CopyRemoved":
    case "RemovalCalledOff":
    case "ProxyRequested":
    case "ProxyAccessed":
    case "RetentionElapsed":
    case "EvictionRequested":
    case "PromotionRequested":
    case "PinChanged": {
      const { type: _type, ...rest } = event;
      return rest;
    }
  }
}

/** Bytes of the original read from Wasabi under the lease so far. */
const readOf = ({ sourceBytes }: { sourceBytes?: number | undefined }) =>
  sourceBytes === undefined ? {} : { sourceBytes };

/** Query strings of upload sources may be presigned. */
function withoutQuery(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
