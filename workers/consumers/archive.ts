/**
 * ArchiveOriginal: the original lies in the bucket. Proves it at its canonical key, or has Wasabi copy it there, part by part.
 * Nothing shows at the key before every part is copied and the source has been looked at again: some stores copy whatever
 * version lies there.
 */
import type { CommandOf } from "../../schemas/command.ts";
import type { StageOf } from "../../schemas/transfer.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { transferPartBytes } from "../stores/transfer-part.ts";
import type { ArchivedObject } from "../stores/wasabi-object.ts";
import { occupied } from "../stores/wasabi-proof.ts";
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
  const { wasabi } = bench;
  const { key, fileId, sizeBytes } = command;
  const inPlace = await wasabi.head(key);
  // As a string: the two keys are of different brands exactly when they differ.
  const sourceKey: string = command.sourceKey;
  if (sourceKey === key) return archived(command, proven(command, inPlace));
  const found = await wasabi.head(sourceKey);
  if (inPlace?.sizeBytes === sizeBytes && !areOtherBytes(inPlace, found)) return archived(command, inPlace);
  if (inPlace !== null) throw occupied(inPlace, command);
  const source = proven(command, found);
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
    if (part.sizeBytes === sizeBytes && areOtherBytes({ etag }, source)) throw otherBytes();
    return { n: part.n, sizeBytes: part.sizeBytes, etag, md5: null, sha256: null };
  });
}

/** Of an object that was put as a whole, and of every part, the ETag is the MD5 of its bytes. */
const isMd5 = (etag: string) => /^[0-9a-f]{32}$/.test(etag);

/** True only where both ETags prove it: an upload in parts, or one that is gone since, proves nothing. */
const areOtherBytes = (one: { etag: string }, other: { etag: string } | null) =>
  other !== null && isMd5(one.etag) && isMd5(other.etag) && one.etag !== other.etag;

/** Ceph reads the name of a copy's source decoded once too often, and may find another object under it. */
const otherBytes = () =>
  new StoreFailure("SOURCE_CHANGED", "What Wasabi copied is not the upload: its MD5 is another.");

const replaced = () => new StoreFailure("SOURCE_CHANGED", "Somebody replaced the upload while it was copied.");

function refuseAnother(failure: unknown): never {
  if (!(failure instanceof StoreFailure) || failure.code !== "ETAG_MISMATCH") throw failure;
  throw replaced();
}

async function completeArchive(command: Archive, stage: StageOf<"complete">, bench: Workbench): Promise<Facts> {
  const { wasabi, door, claim } = bench;
  const { key, sourceKey, sizeBytes } = command;
  const { uploadId, pin } = stage;
  const parts = await answeredByDoor(door.movedParts(uploadId));
  await claim("complete");
  try {
    // An earlier try may have completed it, and the source may be gone since.
    const there = await wasabi.head(key);
    if (there?.sizeBytes === sizeBytes) return archived(command, there);
    const source = await wasabi.head(sourceKey);
    if (source?.etag !== pin?.value || source?.sizeBytes !== sizeBytes) throw replaced();
    return archived(command, await wasabi.completeNew(key, uploadId, parts, { sizeBytes, etag: null }));
  } catch (error) {
    throw incomplete(error);
  }
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
