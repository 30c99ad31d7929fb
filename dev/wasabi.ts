/**
 * The local Wasabi: one R2 bucket that Miniflare serves as S3 (SigV4, presigned URLs, ranges, multipart, copies).
 * Not there: ListParts, ListMultipartUploads, CORS. Objects lie under `directory` and survive kill -9.
 */
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { z } from "zod";

export const WasabiConfig = z.strictObject({
  port: z.int().min(0).max(65535),
  directory: z.string().min(1),
  bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/),
  accessKeyId: z.string().min(1),
  secretAccessKey: z.string().min(1),
});
export type WasabiConfig = z.infer<typeof WasabiConfig>;

export type Wasabi = {
  /** The S3 base: `${endpoint}/${bucket}/${key}` is an object's URL. */
  endpoint: string;
  dispose(): Promise<void>;
};

const s3Path = "/cdn-cgi/local/r2/s3";

export function wasabiEndpoint(port: number): string {
  return `http://127.0.0.1:${port}${s3Path}`;
}

export async function startWasabi(config: WasabiConfig): Promise<Wasabi> {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      name: "wasabi",
      host: "127.0.0.1",
      port: config.port,
      modules: true,
      compatibilityDate: "2026-01-01",
      script: `export default { fetch: () => new Response("S3 lives under ${s3Path}/", { status: 404 }) };`,
      cf: false,
      log: new Log(LogLevel.WARN),
      logRequests: false,
      resourcePersistencePath: config.directory,
      r2Buckets: {
        BUCKET: {
          id: config.bucket,
          s3Credentials: {
            accessKeyId: config.accessKeyId,
            secretAccessKey: config.secretAccessKey,
          },
        },
      },
    }),
  );
  const url = await miniflare.ready;
  return {
    endpoint: wasabiEndpoint(Number(url.port)),
    dispose: () => miniflare.dispose(),
  };
}
