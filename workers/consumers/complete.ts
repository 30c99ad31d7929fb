/** CompleteUpload and AbortUpload: a rendition's parts become a verified object in Wasabi, or are given back. */
import type { CommandOf } from "../../schemas/command.ts";
import { noteUpload } from "../stores/open-upload.ts";
import { multipartEtag, provePartList } from "../stores/part-digest.ts";
import { abortEdgeUpload } from "../stores/r2-place.ts";
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
  try {
    await wasabi.completeProven(key, uploadId, parts, { sizeBytes, etag: expectedEtag });
  } catch (error) {
    throw asFinal(error);
  }
  return [{ type: "RenditionArchived", quality, jobId, op, etag: expectedEtag, sizeBytes }];
}

/** What the runner wrote cannot be written again by us: it has to be encoded again. */
function asFinal(failure: unknown): unknown {
  if (!(failure instanceof StoreFailure)) return failure;
  if (failure.code !== "CHECKSUM_MISMATCH" && failure.code !== "UPLOAD_LOST") return failure;
  return new StoreFailure(failure.code, failure.message, { retryable: false });
}

/** R2 drops what nobody completes after a week; what it does not abort now is noted all the same. */
export async function abortEdgeCopy(
  { key, uploadId, fileId }: CommandOf<"AbortEdgeUpload">,
  { env }: Pick<Workbench, "env">,
): Promise<void> {
  try {
    await abortEdgeUpload(env.PROXIES, key, uploadId);
  } catch (error) {
    if (!(error instanceof StoreFailure)) throw error;
    await noteUpload(env.CATALOGUE, { uploadId, key, fileId, openedAt: new Date().toISOString() });
  }
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
