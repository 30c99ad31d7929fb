/**
 * A server-side copy of what is too large for one request: by parts, pinned to one version, under an upload that is noted
 * and aborted like every other.
 */
import { partRanges } from "../stores/part-digest.ts";
import type { ArchivedObject } from "../stores/wasabi-object.ts";
import { openUpload } from "./open-upload.ts";
import type { Workbench } from "./workbench.ts";

const gib = 1024 ** 3;
const partsAtOnce = 4;

/** The caller verifies the result by HEAD. @throws StoreFailure ETAG_MISMATCH and others, NotWanted */
export async function copyByParts(
  source: ArchivedObject & { key: string },
  target: { key: string; fileId: string },
  bench: Workbench,
  partSizeBytes = gib,
): Promise<void> {
  const upload = await openUpload(bench, target);
  try {
    const copied = await copyParts(source, { key: target.key, uploadId: upload.uploadId }, bench, partSizeBytes);
    await bench.claim("complete");
    await bench.wasabi.completeMultipart(target.key, upload.uploadId, copied);
    await upload.completed();
  } finally {
    await upload.close();
  }
}

async function copyParts(
  source: ArchivedObject & { key: string },
  { key, uploadId }: { key: string; uploadId: string },
  { wasabi, signal }: Workbench,
  partSizeBytes: number,
): Promise<{ n: number; etag: string }[]> {
  const waiting = partRanges(source.sizeBytes, partSizeBytes);
  const copied: { n: number; etag: string }[] = [];
  const worker = async () => {
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
      signal.throwIfAborted();
      copied.push({ n: part.n, etag: await wasabi.copyPart(key, uploadId, { ...part, source }) });
    }
  };
  const workers = Array.from({ length: partsAtOnce }, worker);
  try {
    await Promise.all(workers);
  } catch (error) {
    // The others end before the upload is aborted, so that no part arrives after it.
    waiting.length = 0;
    await Promise.allSettled(workers);
    throw error;
  }
  return copied.sort((a, b) => a.n - b.n);
}
