/** RestoreArchive: a Wasabi proxy is gone; its R2 copy, proven part by part, brings it back. */

import type { PartDigest } from "../../schemas/checksum.ts";
import type { CommandOf } from "../../schemas/command.ts";
import { digested, moveDigested, multipartEtag, partRanges, provePartList } from "../stores/part-digest.ts";
import { getEdgeRange, headEdge } from "../stores/r2.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { openUpload } from "./open-upload.ts";
import { answeredByDoor } from "./step-work.ts";
import type { Facts, Workbench } from "./workbench.ts";

const stallMs = 30_000;

export async function restoreArchive(command: CommandOf<"RestoreArchive">, bench: Workbench): Promise<Facts> {
  const { wasabi, door, env } = bench;
  const { key, from, sizeBytes, sha256, quality, jobId, op } = command;
  const parts = await answeredByDoor(door.partDigests(quality, jobId));
  await provePartList(parts, sizeBytes, sha256);
  const expectedEtag = await multipartEtag(parts.map((part) => part.md5));
  const archived = (): Facts => [{ type: "RenditionArchived", quality, jobId, op, etag: expectedEtag, sizeBytes }];
  const isThere = async () => {
    const found = await wasabi.head(key);
    return found?.sizeBytes === sizeBytes && found.etag === expectedEtag;
  };
  if (await isThere()) return archived();

  const copy = await headEdge(env.PROXIES, from);
  if (copy === null || copy.sizeBytes !== sizeBytes) throw unusable("R2 holds no whole copy to restore from.");
  const upload = await openUpload(bench, { key, fileId: command.fileId });
  try {
    const sent = await sendParts(command, bench, { uploadId: upload.uploadId, copyEtag: copy.etag, parts });
    await bench.claim("complete");
    await wasabi.completeMultipart(key, upload.uploadId, sent);
    await upload.completed();
  } finally {
    await upload.close();
  }
  if (!(await isThere()))
    throw new StoreFailure("CHECKSUM_MISMATCH", "The restored object is not the one that was lost.");
  return archived();
}

async function sendParts(
  { key, from, sizeBytes, sha256 }: CommandOf<"RestoreArchive">,
  { wasabi, env, signal }: Workbench,
  { uploadId, copyEtag, parts }: { uploadId: string; copyEtag: string; parts: readonly PartDigest[] },
) {
  const sent: { n: number; etag: string }[] = [];
  for (const range of partRanges(sizeBytes, sha256.partSizeBytes)) {
    signal.throwIfAborted();
    const source = await getEdgeRange(env.PROXIES, from, {
      offset: range.from,
      length: range.sizeBytes,
      ifMatch: copyEtag,
    });
    if (source === null) throw unusable("The copy on R2 changed while it was read.");
    const stream = digested(source, range.sizeBytes, { stallMs, blame: "R2_UNAVAILABLE" });
    const part = { n: range.n, sizeBytes: range.sizeBytes, signal };
    const moved = await moveDigested(stream, (body) => wasabi.uploadPart(key, uploadId, { ...part, body }));
    if (moved.hashes.sha256 !== digestOf(parts, range.n))
      throw unusable("The copy on R2 differs from what was written.");
    sent.push({ n: range.n, etag: moved.sent });
  }
  return sent;
}

const digestOf = (parts: readonly PartDigest[], n: number) => parts[n - 1]?.sha256;

/** Not worth another try: the rendition is encoded again. */
const unusable = (message: string) => new StoreFailure("CHECKSUM_MISMATCH", message, { retryable: false });
