/** A completion counts when the object itself shows the size and the ETag that its parts add up to. */
import type { WasabiConfig } from "./config.ts";
import { StoreFailure } from "./store-failure.ts";
import {
  abortMultipart,
  completeMultipart,
  isUploadGone,
  type MultipartUpload,
  type PartList,
} from "./wasabi-multipart.ts";
import { type ArchivedObject, headObject } from "./wasabi-object.ts";

export interface ExpectedObject {
  sizeBytes: number;
  /** Null where only the store knows it: parts that it copied itself. */
  etag: string | null;
}

const isExpected = (found: ArchivedObject | null, { sizeBytes, etag }: ExpectedObject): found is ArchivedObject =>
  found !== null && found.sizeBytes === sizeBytes && (etag === null || found.etag === etag);

/**
 * Replaces what lies at the key. Whatever the answer, the object decides: an earlier try may have completed the upload.
 * @throws StoreFailure UPLOAD_LOST, CHECKSUM_MISMATCH (another object is at the key now), WASABI_UNAVAILABLE and others
 */
export async function completeProven(
  config: WasabiConfig,
  upload: MultipartUpload,
  parts: PartList,
  expected: ExpectedObject,
): Promise<void> {
  await prove(config, upload, expected, () => completeMultipart(config, upload, parts));
}

/**
 * Never replaces another object: looks before and after, as not every store knows the condition.
 * @throws StoreFailure CONFLICT when something else lies at the key, and what `completeProven` throws
 */
export async function completeNew(
  config: WasabiConfig,
  upload: MultipartUpload,
  parts: PartList,
  expected: ExpectedObject,
): Promise<ArchivedObject> {
  const before = await headObject(config, upload.key);
  if (isExpected(before, expected)) {
    // Of an earlier try. Where that had another upload, this one would be billed on.
    await abortMultipart(config, upload);
    return before;
  }
  if (before !== null) throw occupied(before, expected);
  return prove(config, upload, expected, () => completeMultipart(config, upload, parts, { onlyNew: true }));
}

/** Nothing of ours overwrites an original. */
export function occupied(found: ArchivedObject, { sizeBytes }: Pick<ExpectedObject, "sizeBytes">): StoreFailure {
  const what = `an object of ${found.sizeBytes} bytes (ETag ${found.etag})`;
  return new StoreFailure(
    "CONFLICT",
    `At the original's key lies ${what} that is not the announced one of ${sizeBytes} bytes. It is not overwritten: ` +
      "find out whose it is, and upload under another file id.",
  );
}

async function prove(
  config: WasabiConfig,
  upload: MultipartUpload,
  expected: ExpectedObject,
  complete: () => Promise<void>,
): Promise<ArchivedObject> {
  const failure = await complete().then(
    () => null,
    (error: unknown) => explained(config, upload, error),
  );
  const found = await headObject(config, upload.key);
  if (isExpected(found, expected)) return found;
  if (failure?.code === "ETAG_MISMATCH" && found !== null) throw occupied(found, expected);
  if (failure !== null) throw failure;
  throw new StoreFailure("CHECKSUM_MISMATCH", "The completed object is not the one whose parts were written.");
}

/** Some stores answer 500 for ever to the completion of an upload that is gone: waiting would not bring it back. */
async function explained(config: WasabiConfig, upload: MultipartUpload, error: unknown): Promise<StoreFailure> {
  if (!(error instanceof StoreFailure)) throw error;
  if (error.code !== "WASABI_UNAVAILABLE" || !(await isUploadGone(config, upload))) return error;
  return new StoreFailure("UPLOAD_LOST", "The upload is gone: it was aborted before it was completed.");
}
