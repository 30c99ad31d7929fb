/** A completion counts when the object itself shows the size and the ETag that its parts add up to. */
import type { WasabiConfig } from "./config.ts";
import { StoreFailure } from "./store-failure.ts";
import { completeMultipart, type MultipartUpload } from "./wasabi-multipart.ts";
import { type ArchivedObject, headObject } from "./wasabi-object.ts";

/**
 * Where the upload is gone the object decides: an earlier try may have completed it.
 * @throws StoreFailure UPLOAD_LOST, CHECKSUM_MISMATCH (another object is at the key now), WASABI_UNAVAILABLE and others
 */
export async function completeProven(
  config: WasabiConfig,
  upload: MultipartUpload,
  parts: readonly { n: number; etag: string }[],
  expected: ArchivedObject,
): Promise<void> {
  let lost: StoreFailure | null = null;
  try {
    await completeMultipart(config, upload, parts);
  } catch (error) {
    if (!(error instanceof StoreFailure) || error.code !== "UPLOAD_LOST") throw error;
    lost = error;
  }
  const found = await headObject(config, upload.key);
  if (found?.sizeBytes === expected.sizeBytes && found.etag === expected.etag) return;
  if (lost !== null) throw lost;
  throw new StoreFailure("CHECKSUM_MISMATCH", "The completed object is not the one whose parts were written.");
}
