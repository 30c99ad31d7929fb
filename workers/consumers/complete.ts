/** CompleteUpload and AbortUpload: a rendition's parts become a verified object in Wasabi, or are given back. */
import type { CommandOf } from "../../schemas/command.ts";
import { noteUpload } from "../stores/open-upload.ts";
import { multipartEtag, provePartList } from "../stores/part-digest.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { answeredByDoor } from "./step-work.ts";
import type { Facts, Workbench } from "./workbench.ts";

export async function completeUpload(command: CommandOf<"CompleteUpload">, bench: Workbench): Promise<Facts> {
  const { wasabi, door, claim } = bench;
  const { quality, jobId, op, key, uploadId, sizeBytes } = command;
  const parts = await answeredByDoor(door.uploadedParts(uploadId));
  await provePartList(parts, sizeBytes, command.sha256);
  const expectedEtag = await multipartEtag(parts.map((part) => part.md5));
  await claim("complete");
  let lost: StoreFailure | null = null;
  try {
    await wasabi.completeMultipart(key, uploadId, parts);
  } catch (error) {
    // An earlier try may have won: whether it did, the object itself says.
    if (!(error instanceof StoreFailure) || error.code !== "UPLOAD_LOST") throw error;
    // Its parts cannot come back, and only an encode makes them anew.
    lost = new StoreFailure(error.code, error.message, { retryable: false, cause: error });
  }
  const found = await wasabi.head(key);
  if (found?.sizeBytes === sizeBytes && found.etag === expectedEtag) {
    return [{ type: "RenditionArchived", quality, jobId, op, etag: found.etag, sizeBytes }];
  }
  if (lost !== null) throw lost;
  throw new StoreFailure("CHECKSUM_MISMATCH", "The completed object is not the one whose parts were written.", {
    retryable: false,
  });
}

/** Gone already counts as done. No step waits for it: what Wasabi does not abort now is noted for the timer to abort. */
export async function abortUpload(
  { key, uploadId, fileId }: CommandOf<"AbortUpload">,
  { env, wasabi }: Pick<Workbench, "env" | "wasabi">,
): Promise<void> {
  try {
    await wasabi.abortMultipart(key, uploadId);
  } catch (error) {
    if (!(error instanceof StoreFailure)) throw error;
    await noteUpload(env.CATALOGUE, { uploadId, key, fileId, openedAt: new Date().toISOString() });
  }
}
