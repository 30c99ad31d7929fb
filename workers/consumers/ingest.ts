/**
 * IngestOriginal: streams an original from a URL into its canonical key, in equal parts that are hashed in passing.
 * Nothing shows at the key before every byte is proven. One run moves what fits into a consumer's 15 minutes.
 */

import type { CompositeSha256 } from "../../schemas/checksum.ts";
import type { CommandOf } from "../../schemas/command.ts";
import {
  compositeOf,
  digested,
  hexOf,
  moveDigested,
  multipartEtag,
  type PartHashes,
  type PartRange,
  partRanges,
} from "../stores/part-digest.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { openUpload } from "./open-upload.ts";
import { openUrl, type UrlSource } from "./url-source.ts";
import type { Facts, Workbench } from "./workbench.ts";

const mib = 1024 ** 2;
const smallestPartBytes = 32 * mib;
/** S3 takes 10,000. */
const mostParts = 9_000;
const partsAtOnce = 3;
const stallMs = 30_000;

/** 32 MiB until that is not enough, then whole MiB more. */
export function ingestPartSize(sizeBytes: number): number {
  return Math.max(smallestPartBytes, Math.ceil(sizeBytes / mostParts / mib) * mib);
}

type SentPart = PartHashes & { n: number; etag: string };

export async function ingestOriginal(command: CommandOf<"IngestOriginal">, bench: Workbench): Promise<Facts> {
  const { wasabi, config, signal } = bench;
  const { key, op, sizeBytes } = command;
  const archived = (etag: string, sha256: CompositeSha256 | null): Facts => [
    { type: "OriginalArchived", op, key, sizeBytes, etag, sha256 },
  ];
  // An earlier run has won: an object shows at the key only once all of it was proven.
  const present = await wasabi.head(key);
  if (present?.sizeBytes === sizeBytes) return archived(present.etag, null);

  const source = await openUrl({ url: command.url, sizeBytes, allowPrivate: config.environment === "local", signal });
  const partSizeBytes = ingestPartSize(sizeBytes);
  const upload = await openUpload(bench, { key, fileId: command.fileId });
  try {
    const parts = await sendParts(command, source, upload.uploadId, bench);
    await source.finish();
    await bench.claim("complete");
    await wasabi.completeMultipart(key, upload.uploadId, parts);
    await upload.completed();
    const expectedEtag = await multipartEtag(parts.map((part) => part.md5));
    const found = await wasabi.head(key);
    if (found?.sizeBytes !== sizeBytes || found.etag !== expectedEtag) {
      throw new StoreFailure("CHECKSUM_MISMATCH", "The object in Wasabi is not the one that was written.");
    }
    const composite = await compositeOf(parts.map((part) => part.sha256));
    return archived(found.etag, { partSizeBytes, parts: parts.length, composite });
  } finally {
    await upload.close();
  }
}

/** A digest of the whole file wants its bytes in order; without one, ranges may come at the same time. */
async function sendParts(
  command: CommandOf<"IngestOriginal">,
  source: UrlSource,
  uploadId: string,
  { wasabi, signal }: Workbench,
): Promise<SentPart[]> {
  const whole = command.sha256 === null ? null : new crypto.DigestStream("SHA-256");
  const wholeWriter = whole?.getWriter();
  const waiting = partRanges(command.sizeBytes, ingestPartSize(command.sizeBytes));
  const sent: SentPart[] = [];
  const send = async (part: PartRange) => {
    const stream = digested(await source.read(part), part.sizeBytes, {
      stallMs,
      blame: "SOURCE_UNREADABLE",
      also: wholeWriter,
    });
    const moved = await moveDigested(stream, (body) =>
      wasabi.uploadPart(command.key, uploadId, { ...part, body, signal }),
    );
    sent.push({ n: part.n, etag: moved.sent, ...moved.hashes });
  };
  const worker = async () => {
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
      signal.throwIfAborted();
      await send(part);
    }
  };
  const workers = Array.from({ length: source.ranged && whole === null ? partsAtOnce : 1 }, worker);
  try {
    await Promise.all(workers);
  } catch (error) {
    // The others end before the upload is aborted, so that no part arrives after it.
    waiting.length = 0;
    await Promise.allSettled(workers);
    whole?.digest.catch(() => undefined);
    await wholeWriter?.abort(error).catch(() => undefined);
    throw error;
  }
  if (whole !== null && wholeWriter !== undefined) {
    await wholeWriter.close();
    if (hexOf(await whole.digest) !== command.sha256) {
      throw new StoreFailure("CHECKSUM_MISMATCH", "The file's SHA-256 is not the announced one.", { retryable: false });
    }
  }
  return sent.sort((a, b) => a.n - b.n);
}
