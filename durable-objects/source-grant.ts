/** The presigned URL by which a runner that holds the lease reads its original. By the real clock: it is signed. */
import type { OriginalKey } from "../schemas/key.ts";
import type { WasabiConfig } from "../workers/stores/config.ts";
import { presignGet, sourceUrlSeconds } from "../workers/stores/wasabi-presign.ts";

export async function grantSource(
  wasabi: WasabiConfig,
  { key, sizeBytes, etag }: { key: OriginalKey; sizeBytes: number; etag: string },
  nowMs: number,
) {
  const url = await presignGet(wasabi, key, { nowMs, ttlSeconds: sourceUrlSeconds });
  return { url, expiresAt: new Date(nowMs + sourceUrlSeconds * 1000).toISOString(), sizeBytes, etag };
}
