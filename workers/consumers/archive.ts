/**
 * ArchiveOriginal: the original lies in the bucket. Proves it at its canonical key, or has Wasabi copy it there, in one
 * request or, above what S3 copies at once, part by part. Bracketed by HEADs: the source is the announced file before the
 * copy, and the copy is whole after it.
 */
import type { CommandOf } from "../../schemas/command.ts";
import type { StageOf } from "../../schemas/transfer.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { transferPartBytes } from "../stores/transfer-part.ts";
import type { ArchivedObject } from "../stores/wasabi-object.ts";
import { openUpload } from "./open-upload.ts";
import { answeredByDoor } from "./step-work.ts";
import { handOver, incomplete, moveParts, transferPlan } from "./transfer-work.ts";
import type { Facts, Workbench } from "./workbench.ts";

type Archive = CommandOf<"ArchiveOriginal">;

const gib = 1024 ** 3;

export async function archiveOriginal(command: Archive, bench: Workbench): Promise<Facts> {
  const { stage } = command;
  switch (stage.type) {
    case "open":
      return openArchive(command, bench);
    case "parts":
      return copyParts(command, stage, bench);
    case "complete":
      return completeArchive(command, stage, bench);
  }
}

async function openArchive(command: Archive, bench: Workbench): Promise<Facts> {
  const { wasabi, claim, config } = bench;
  const inPlace = await wasabi.head(command.key);
  // As a string: the two keys are of different brands exactly when they differ.
  const sourceKey: string = command.sourceKey;
  if (sourceKey === command.key) return archived(command, proven(command, inPlace));
  if (inPlace?.sizeBytes === command.sizeBytes) return archived(command, inPlace);
  const source = proven(command, await wasabi.head(sourceKey));
  if (source.sizeBytes > config.policy.singleCopyBytes) return openParts(command, source, bench);
  await claim("complete");
  await wasabi.copy({ key: sourceKey, etag: source.etag }, command.key);
  return archived(command, await copied(command, bench));
}

async function openParts(command: Archive, source: ArchivedObject, bench: Workbench): Promise<Facts> {
  const { key, fileId, sizeBytes } = command;
  const partSizeBytes = copyPartBytes(sizeBytes, bench.config.policy.transferPartBytes);
  const upload = await openUpload(bench, { key, fileId });
  try {
    const plan = transferPlan({ uploadId: upload.uploadId, sizeBytes, partSizeBytes });
    const pin = { name: "etag", value: source.etag } as const;
    if (await handOver(bench, { tier: "wasabi", key, ...plan, pin })) await upload.release();
    return [];
  } finally {
    await upload.close();
  }
}

/** Nothing of it passes through us, so that a part may be larger than those that do: fewer requests. S3 takes 5 GiB. */
function copyPartBytes(sizeBytes: number, targetBytes: number): number {
  return Math.max(transferPartBytes(sizeBytes, targetBytes), Math.min(16 * targetBytes, gib));
}

function copyParts(command: Archive, stage: StageOf<"parts">, bench: Workbench): Promise<Facts> {
  const { key, sourceKey, sizeBytes } = command;
  const { pin, uploadId } = stage;
  if (pin === null) throw new Error("parts are copied from a pinned source only");
  const source = { key: sourceKey, etag: pin.value };
  return moveParts(stage, sizeBytes, bench, async (part) => {
    const etag = await bench.wasabi.copyPart(key, uploadId, { ...part, source }).catch(refuseAnother);
    return { n: part.n, sizeBytes: part.sizeBytes, etag, md5: null, sha256: null };
  });
}

function refuseAnother(failure: unknown): never {
  if (!(failure instanceof StoreFailure) || failure.code !== "ETAG_MISMATCH") throw failure;
  throw new StoreFailure("SOURCE_CHANGED", "Somebody replaced the upload while it was copied.");
}

async function completeArchive(command: Archive, { uploadId }: StageOf<"complete">, bench: Workbench): Promise<Facts> {
  const { wasabi, door, claim } = bench;
  const parts = await answeredByDoor(door.movedParts(uploadId));
  await claim("complete");
  try {
    await wasabi.completeMultipart(command.key, uploadId, parts);
  } catch (error) {
    // An earlier try may have won: whether it did, the object itself says.
    const there = await wasabi.head(command.key);
    if (there?.sizeBytes !== command.sizeBytes) throw incomplete(error);
  }
  return archived(command, await copied(command, bench));
}

async function copied({ key, sizeBytes }: Archive, { wasabi }: Workbench): Promise<ArchivedObject> {
  const copy = await wasabi.head(key);
  if (copy?.sizeBytes === sizeBytes) return copy;
  throw new StoreFailure("WASABI_UNAVAILABLE", "The server-side copy is not there in full.");
}

function proven({ sizeBytes }: Archive, found: ArchivedObject | null): ArchivedObject {
  if (found === null) throw new StoreFailure("ORIGINAL_MISSING", "There is no original at the announced key yet.");
  if (found.sizeBytes !== sizeBytes) {
    const told = `The original has ${found.sizeBytes} bytes, announced were ${sizeBytes}.`;
    throw new StoreFailure("SIZE_MISMATCH", told);
  }
  return found;
}

function archived({ op, key }: Archive, { sizeBytes, etag }: ArchivedObject): Facts {
  return [{ type: "OriginalArchived", op, key, sizeBytes, etag, sha256: null }];
}
