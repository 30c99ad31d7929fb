/**
 * The arithmetic of moving an object to R2 in parts. A *transfer part* is what one uploadPart takes; it holds whole
 * *digest parts*, whose SHA-256 was recorded when the bytes were first written.
 */
import { mostPartsPerMessage } from "../../schemas/transfer.ts";
import type { PartRange } from "./part-digest.ts";

const mib = 1024 ** 2;
/** Large parts need few requests; above this, a part that fails costs more than the requests that it saved. */
const transferPartTargetBytes = 64 * mib;
/** R2 takes this many in one object. */
const mostParts = 10_000;
/** What one message may move: a consumer lives 15 minutes. */
const messageBytes = 512 * mib;
/** A worker has six connections; each part has one open at a time. */
export const mostPartsAtOnce = 4;

/** Whole digest parts, as many as fit into the target (at least one); more where 10,000 of those would not hold the object. */
export function edgeTransferPartBytes(
  sizeBytes: number,
  digestPartBytes: number,
  targetBytes = transferPartTargetBytes,
): number {
  const digestsThatFit = Math.max(1, Math.floor(targetBytes / digestPartBytes));
  const digestsNeeded = Math.ceil(Math.ceil(sizeBytes / mostParts) / digestPartBytes);
  if (digestsNeeded >= digestsThatFit) return digestPartBytes * digestsNeeded;
  return digestPartBytes * evenDigests(Math.ceil(sizeBytes / digestPartBytes), digestsThatFit);
}

/**
 * Fewer in a part, down to half, where that lets the parts that move at the same time end together: a last part that moves
 * alone has one connection for itself while the others stand still. Of a large object it is not worth the requests.
 */
function evenDigests(digests: number, digestsThatFit: number): number {
  const roundDigests = (each: number) => Math.ceil(Math.ceil(digests / each) / mostPartsAtOnce) * each;
  let best = digestsThatFit;
  if (digests <= best) return best;
  for (let each = best - 1; each >= digestsThatFit / 2; each--) {
    if (roundDigests(each) < 0.95 * roundDigests(best)) best = each;
  }
  return best;
}

export interface TransferPlan {
  sizeBytes: number;
  /** Of a transfer part: a whole multiple of `digestPartBytes`. */
  partSizeBytes: number;
  digestPartBytes: number;
}

export interface TransferPart extends PartRange {
  /** Indexes into the object's list of digests: `from` up to, not including, `to`. */
  digests: { from: number; to: number };
}

/** An empty object has one empty part. */
export function transferPartCount({ sizeBytes, partSizeBytes }: TransferPlan): number {
  return Math.max(1, Math.ceil(sizeBytes / partSizeBytes));
}

/** @throws RangeError for a part that the object does not have */
export function transferPart(n: number, plan: TransferPlan): TransferPart {
  const { sizeBytes, partSizeBytes, digestPartBytes } = plan;
  if (!Number.isInteger(n) || n < 1 || n > transferPartCount(plan)) throw new RangeError(`there is no part ${n}`);
  const from = (n - 1) * partSizeBytes;
  const partBytes = Math.min(partSizeBytes, sizeBytes - from);
  const firstDigest = from / digestPartBytes;
  const digestCount = Math.max(1, Math.ceil(partBytes / digestPartBytes));
  return { n, from, sizeBytes: partBytes, digests: { from: firstDigest, to: firstDigest + digestCount } };
}

/** Where the n-th part of an object lies, from 1. */
export function partRange(n: number, sizeBytes: number, partSizeBytes: number): PartRange {
  const from = (n - 1) * partSizeBytes;
  return { n, from, sizeBytes: Math.min(partSizeBytes, sizeBytes - from) };
}

/** For objects of any size: the target, in whole MiB more where 10,000 parts of it would not hold the object. */
export function transferPartBytes(sizeBytes: number, targetBytes: number): number {
  return Math.max(targetBytes, Math.ceil(sizeBytes / mostParts / mib) * mib);
}

/**
 * How many parts one message moves. More than at a time, so that each begins when another ends: parts that all begin
 * together read together and are stored together, and a connection waits for a disk or a disk for a connection.
 */
export function partsPerMessage(partSizeBytes: number): number {
  return Math.min(mostPartsPerMessage, Math.max(1, Math.floor(messageBytes / partSizeBytes)));
}
