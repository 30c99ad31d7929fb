/** Presigned URLs of archived objects and parts: local computation only, short-lived, never logged. */
import { AwsClient } from "aws4fetch";
import type { WasabiConfig } from "./config.ts";
import { objectUrl } from "./wasabi-url.ts";

/** How long a runner's URL of its original lives; one that encodes for longer asks for another. */
export const sourceUrlSeconds = 60 * 60;

interface Lifetime {
  nowMs: number;
  /** 1 second to 7 days, as S3 has it. */
  ttlSeconds: number;
}

async function presign(config: WasabiConfig, method: "GET" | "PUT", url: string, { nowMs, ttlSeconds }: Lifetime) {
  if (!Number.isInteger(ttlSeconds) || ttlSeconds < 1 || ttlSeconds > 604_800) {
    throw new RangeError("a presigned URL lives 1 second to 7 days");
  }
  const { accessKeyId, secretAccessKey, region } = config;
  const client = new AwsClient({ accessKeyId, secretAccessKey, region, service: "s3", retries: 0 });
  const target = new URL(url);
  target.searchParams.set("X-Amz-Expires", String(ttlSeconds));
  const datetime = new Date(nowMs).toISOString().replace(/[:-]|\.\d{3}/g, "");
  const signed = await client.sign(target, { method, aws: { signQuery: true, datetime } });
  return signed.url;
}

export function presignGet(config: WasabiConfig, key: string, lifetime: Lifetime): Promise<string> {
  return presign(config, "GET", objectUrl(config, key), lifetime);
}

export function presignPart(
  config: WasabiConfig,
  part: { key: string; uploadId: string; n: number },
  lifetime: Lifetime,
): Promise<string> {
  const query = `partNumber=${part.n}&uploadId=${encodeURIComponent(part.uploadId)}`;
  return presign(config, "PUT", `${objectUrl(config, part.key)}?${query}`, lifetime);
}
