/** The cache's place in a Miniflare: a worker that every request of the worker beside it goes out through. */
import { fileURLToPath } from "node:url";
import type { V4WorkerOptions } from "miniflare";
import { bundleWorker } from "./bundle.ts";

/** For `outboundService` of the worker that is to be behind it. */
export const platformCacheName = "platform-cache";

export async function platformCacheWorker(): Promise<V4WorkerOptions> {
  const { script } = await bundleWorker(fileURLToPath(new URL("platform-cache-worker.ts", import.meta.url)));
  return { name: platformCacheName, modules: true, script, compatibilityDate: "2026-01-01" };
}
