/** Reads a proxy from R2: one operation for a hit. */
import type { EdgeKey } from "../../schemas/key.ts";
import { within } from "../stores/deadline.ts";
import { type ByteSpan, type RangeSpec, spanOf } from "./byte-range.ts";

/** The viewer waits for it before Wasabi is asked. */
const ANSWER_TIMEOUT_MS = 5_000;
/** R2's number for a range outside the object, in its error's message. */
const RANGE_ERROR = "(10039)";

/** `outside`: the range lies beyond the file. A HEAD has no body. */
export type EdgeRead =
  | { outcome: "found"; body: ReadableStream | null; sizeBytes: number; span: ByteSpan; uploaded: Date }
  | { outcome: "missing" }
  | { outcome: "outside"; sizeBytes: number };

/** @throws whatever R2 does, and an Error when it does not answer in time */
export async function readEdge(
  bucket: R2Bucket,
  key: EdgeKey,
  asked: { range: RangeSpec; headOnly: boolean },
): Promise<EdgeRead> {
  const { range } = asked;
  // No R2 range says "the last 0 bytes": that one is outside, and needs only the size.
  if (asked.headOnly || (range.kind === "suffix" && range.lengthBytes === 0)) return headEdge(bucket, key, range);
  let object: R2ObjectBody | null;
  try {
    object = await timed(bucket.get(key, range.kind === "whole" ? {} : { range: r2Range(range) }));
  } catch (error) {
    if (range.kind === "whole" || !(error instanceof Error && error.message.includes(RANGE_ERROR))) throw error;
    // Only to tell the size.
    const read = await headEdge(bucket, key, range);
    if (read.outcome === "found") throw error;
    return read;
  }
  if (object === null) return { outcome: "missing" };
  const { size: sizeBytes, uploaded, body } = object;
  const span = spanOf(range, sizeBytes);
  if (span !== null) return { outcome: "found", body, sizeBytes, span, uploaded };
  await body.cancel();
  return { outcome: "outside", sizeBytes };
}

async function headEdge(bucket: R2Bucket, key: EdgeKey, range: RangeSpec): Promise<EdgeRead> {
  const object = await timed(bucket.head(key));
  if (object === null) return { outcome: "missing" };
  const span = spanOf(range, object.size);
  if (span === null) return { outcome: "outside", sizeBytes: object.size };
  return { outcome: "found", body: null, sizeBytes: object.size, span, uploaded: object.uploaded };
}

function r2Range(range: Exclude<RangeSpec, { kind: "whole" }>): R2Range {
  if (range.kind === "suffix") return { suffix: range.lengthBytes };
  return range.last === null ? { offset: range.first } : { offset: range.first, length: range.last - range.first + 1 };
}

function timed<Value>(work: Promise<Value>): Promise<Value> {
  return within(work, ANSWER_TIMEOUT_MS, () => new Error(`R2 gave no answer within ${ANSWER_TIMEOUT_MS} ms`));
}
