/** Copies an object inside the bucket, of any size: in one request up to 5 GiB, above by parts. */
import type { WasabiConfig } from "./config.ts";
import { partRanges } from "./part-digest.ts";
import { abortMultipart, completeMultipart, copyPart, createMultipart } from "./wasabi-multipart.ts";
import { type ArchivedObject, copyWhole, largestSingleCopyBytes } from "./wasabi-object.ts";

const partSizeBytes = 1024 ** 3;
const partsAtOnce = 4;

/** Pinned to the version named. The caller verifies the result by HEAD. @throws StoreFailure ETAG_MISMATCH and others */
export async function copyObject(
  config: WasabiConfig,
  source: ArchivedObject & { key: string },
  toKey: string,
): Promise<void> {
  if (source.sizeBytes <= largestSingleCopyBytes) return copyWhole(config, source, toKey);
  const upload = { key: toKey, uploadId: await createMultipart(config, toKey, "application/octet-stream") };
  try {
    const waiting = partRanges(source.sizeBytes, partSizeBytes);
    const copied: { n: number; etag: string }[] = [];
    const worker = async () => {
      for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
        copied.push({ n: part.n, etag: await copyPart(config, upload, { ...part, source }) });
      }
    };
    await Promise.all(Array.from({ length: partsAtOnce }, worker));
    await completeMultipart(
      config,
      upload,
      copied.sort((a, b) => a.n - b.n),
    );
  } catch (error) {
    // What this leaves behind, the bucket's AbortIncompleteMultipartUpload rule collects.
    await abortMultipart(config, upload).catch(() => undefined);
    throw error;
  }
}
