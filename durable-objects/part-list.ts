/** Whether a part list can be the parts of one object: contiguous, equal but the last, together the stated size. Pure. */
import type { PartDigest } from "../schemas/checksum.ts";

/** @returns a sentence about the first fault, or null. Digests are proven later, against the completed object. */
export function partListFault(
  upload: { sizeBytes: number; partSizeBytes: number; parts: readonly PartDigest[] },
  openedPartSizeBytes: number,
): string | null {
  const { parts, partSizeBytes, sizeBytes } = upload;
  if (partSizeBytes !== openedPartSizeBytes) return `The upload was opened with parts of ${openedPartSizeBytes} bytes.`;
  let totalBytes = 0;
  for (const [index, part] of parts.entries()) {
    const isLast = index === parts.length - 1;
    if (part.n !== index + 1) return `Part ${index + 1} is missing.`;
    if (isLast ? part.sizeBytes > partSizeBytes : part.sizeBytes !== partSizeBytes) {
      return `Part ${part.n} has ${part.sizeBytes} bytes instead of ${partSizeBytes}.`;
    }
    totalBytes += part.sizeBytes;
  }
  return totalBytes === sizeBytes ? null : `The parts have ${totalBytes} bytes, not ${sizeBytes}.`;
}
