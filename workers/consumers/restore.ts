/**
 * RestoreArchive: a Wasabi proxy is gone; its R2 copy brings it back, each part compared with the digest that was recorded
 * when it was first written. Cut as it was then, so that the object gets the very ETag that was lost.
 */
import type { PartDigest } from "../../schemas/checksum.ts";
import type { CommandOf } from "../../schemas/command.ts";
import type { MovedPart, StageOf } from "../../schemas/transfer.ts";
import { moveDigested, multipartEtag, type PartRange, provePartList, verified } from "../stores/part-digest.ts";
import { getEdgeRange, headEdge } from "../stores/r2.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { openUpload } from "./open-upload.ts";
import { answeredByDoor } from "./step-work.ts";
import { handOver, incomplete, moveParts, transferPlan } from "./transfer-work.ts";
import type { Facts, Workbench } from "./workbench.ts";

type Restore = CommandOf<"RestoreArchive">;

const stallMs = 30_000;

export async function restoreArchive(command: Restore, bench: Workbench): Promise<Facts> {
  const { stage } = command;
  switch (stage.type) {
    case "open":
      return openRestore(command, bench);
    case "parts":
      return moveParts(stage, command.sizeBytes, bench, (part) => restorePart(command, stage, bench, part));
    case "complete":
      return completeRestore(command, stage, bench);
  }
}

/** What was lost: its size, and the ETag that its recorded parts add up to. */
async function lostObject({ quality, jobId, sizeBytes, sha256 }: Restore, { door }: Workbench) {
  const parts = await answeredByDoor(door.partDigests(quality, jobId));
  await provePartList(parts, sizeBytes, sha256);
  return { sizeBytes, etag: await multipartEtag(parts.map((part) => part.md5)) };
}

const archived = ({ quality, jobId, op, sizeBytes }: Restore, etag: string): Facts => [
  { type: "RenditionArchived", quality, jobId, op, etag, sizeBytes },
];

async function openRestore(command: Restore, bench: Workbench): Promise<Facts> {
  const { key, from, fileId, sizeBytes, sha256 } = command;
  const lost = await lostObject(command, bench);
  const found = await bench.wasabi.head(key);
  if (found?.sizeBytes === sizeBytes && found.etag === lost.etag) return archived(command, lost.etag);

  const copy = await headEdge(bench.env.PROXIES, from);
  if (copy === null || copy.sizeBytes !== sizeBytes) throw unusable("R2 holds no whole copy to restore from.");
  const upload = await openUpload(bench, { key, fileId });
  try {
    const plan = transferPlan({ uploadId: upload.uploadId, sizeBytes, partSizeBytes: sha256.partSizeBytes });
    const pin = { name: "etag", value: copy.etag } as const;
    if (await handOver(bench, { tier: "wasabi", key, ...plan, pin })) await upload.release();
    return [];
  } finally {
    await upload.close();
  }
}

async function restorePart(
  { key, from, quality, jobId }: Restore,
  { uploadId, pin }: StageOf<"parts">,
  { wasabi, door, env, signal }: Workbench,
  part: PartRange,
): Promise<MovedPart> {
  if (pin === null) throw new Error("parts are restored from a pinned copy only");
  const [digest] = await answeredByDoor(door.partDigests(quality, jobId, { first: part.n, last: part.n }));
  if (digest === undefined) throw unusable("The rendition has no recorded digest of a part.");
  const wanted = { offset: part.from, length: part.sizeBytes, ifMatch: pin.value };
  const source = await getEdgeRange(env.PROXIES, from, wanted);
  if (source === null) throw unusable("The copy on R2 changed while it was read.");
  const stream = verified(source, [digest], { stallMs, blame: "R2_UNAVAILABLE", signal });
  const { sent } = await moveDigested(stream, (body) =>
    wasabi.uploadPart(key, uploadId, { ...part, body, signal }),
  ).catch(asUnusable);
  return { n: part.n, sizeBytes: part.sizeBytes, etag: sent, ...hashesOf(digest) };
}

const hashesOf = ({ md5, sha256 }: PartDigest) => ({ md5, sha256 });

async function completeRestore(command: Restore, { uploadId }: StageOf<"complete">, bench: Workbench): Promise<Facts> {
  const { wasabi, door, claim } = bench;
  const lost = await lostObject(command, bench);
  const parts = await answeredByDoor(door.movedParts(uploadId));
  await claim("complete");
  try {
    await wasabi.completeProven(command.key, uploadId, parts, lost);
  } catch (error) {
    throw incomplete(error);
  }
  return archived(command, lost.etag);
}

function asUnusable(failure: unknown): never {
  const differs = failure instanceof StoreFailure && failure.code === "CHECKSUM_MISMATCH";
  throw differs ? unusable("The copy on R2 differs from what was written.") : failure;
}

/** Not worth another try: the rendition is encoded again. */
const unusable = (message: string) => new StoreFailure("CHECKSUM_MISMATCH", message, { retryable: false });
