/** Reads a proxy from Wasabi: exactly the object that was archived for this job, or nothing. */
import type { WasabiConfig } from "../stores/config.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { wasabiStore } from "../stores/wasabi.ts";
import type { ByteSpan } from "./byte-range.ts";

export interface ArchivedProxyRef {
  key: string;
  etag: string;
  sizeBytes: number;
}

/** The object that was archived is not there any more: gone (asked twice), or another lies at its key. */
export class ArchiveLoss extends Error {
  override readonly name = "ArchiveLoss";
  readonly replaced: boolean;

  constructor(message: string, { replaced, cause }: { replaced: boolean; cause?: unknown }) {
    super(message, { cause });
    this.replaced = replaced;
  }
}

/**
 * @returns null for a HEAD
 * @throws ArchiveLoss, StoreFailure
 */
export async function readArchive(
  config: WasabiConfig,
  archive: ArchivedProxyRef,
  asked: { span: ByteSpan; headOnly: boolean; signal?: AbortSignal },
): Promise<ReadableStream | null> {
  const wasabi = wasabiStore(config);
  try {
    if (asked.headOnly) {
      const object = await wasabi.head(archive.key);
      if (object === null) throw new StoreFailure("ORIGINAL_MISSING", "Wasabi has no such object.");
      if (object.etag !== archive.etag) throw new StoreFailure("ETAG_MISMATCH", "Wasabi has another object.");
      return null;
    }
    const { span, signal } = asked;
    const { body } = await wasabi.getRange(archive.key, { ...span, ifMatch: archive.etag, signal });
    return body;
  } catch (error) {
    if (!(error instanceof StoreFailure)) throw error;
    if (error.code === "ETAG_MISMATCH") {
      throw new ArchiveLoss("Wasabi holds another object at this proxy's key", { replaced: true, cause: error });
    }
    if (error.code !== "ORIGINAL_MISSING") throw error;
    throw new ArchiveLoss("Wasabi no longer holds this proxy", { replaced: false, cause: error });
  }
}
