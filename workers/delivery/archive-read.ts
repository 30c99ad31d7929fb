/** Reads a proxy from Wasabi: exactly the object that was archived for this job, or nothing. */
import { Refusal } from "../problem.ts";
import type { WasabiConfig } from "../stores/config.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { wasabiStore } from "../stores/wasabi.ts";
import type { ByteSpan } from "./byte-range.ts";

export interface ArchivedProxyRef {
  key: string;
  etag: string;
  sizeBytes: number;
}

/** The archive says that the object is gone, and has been asked twice. */
export class ArchiveMissing extends Error {
  override readonly name = "ArchiveMissing";
}

/**
 * @returns null for a HEAD
 * @throws Refusal SUPERSEDED when another version lies there, ArchiveMissing, StoreFailure
 */
export async function readArchive(
  config: WasabiConfig,
  archive: ArchivedProxyRef,
  asked: { span: ByteSpan; headOnly: boolean },
): Promise<ReadableStream | null> {
  const wasabi = wasabiStore(config);
  try {
    if (asked.headOnly) {
      const object = await wasabi.head(archive.key);
      if (object === null) throw new StoreFailure("ORIGINAL_MISSING", "Wasabi has no such object.");
      if (object.etag !== archive.etag) throw superseded();
      return null;
    }
    const { body } = await wasabi.getRange(archive.key, { ...asked.span, ifMatch: archive.etag });
    return body;
  } catch (error) {
    if (!(error instanceof StoreFailure)) throw error;
    if (error.code === "ETAG_MISMATCH") throw superseded();
    const gone = error.code === "ORIGINAL_MISSING" && (await wasabi.isProvenMissing(archive.key));
    throw gone ? new ArchiveMissing("Wasabi no longer holds this proxy", { cause: error }) : error;
  }
}

export function superseded(): Refusal {
  return new Refusal("SUPERSEDED", "A newer rendition has replaced this one. Ask for a new playback URL.");
}
