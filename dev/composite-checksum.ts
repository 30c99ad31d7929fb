/** The composite SHA-256 that the API tells of a rendition, reckoned again from bytes by someone who was only told the rule. */
import { createHash } from "node:crypto";

/** SHA-256 over the raw SHA-256 digests of the parts, in order; also when there is a single part. */
export function compositeSha256(bytes: Uint8Array, partSizeBytes: number): string {
  const composite = createHash("sha256");
  for (let from = 0; from < bytes.length; from += partSizeBytes) {
    composite.update(
      createHash("sha256")
        .update(bytes.subarray(from, from + partSizeBytes))
        .digest(),
    );
  }
  return composite.digest("hex");
}
