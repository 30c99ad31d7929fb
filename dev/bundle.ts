/** Bundles a worker's entry for workerd the way `wrangler deploy` does, in tens of milliseconds and in memory. */
import { build } from "esbuild";

export type WorkerBundle = { script: string };

export async function bundleWorker(entry: string, define: Record<string, string> = {}): Promise<WorkerBundle> {
  const result = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2024",
    platform: "neutral",
    mainFields: ["browser", "module", "main"],
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
    loader: { ".html": "text", ".txt": "text", ".sql": "text" },
    define,
    sourcemap: "inline",
    sourcesContent: false,
    keepNames: true,
    logLevel: "silent",
  });
  const script = result.outputFiles[0]?.text;
  if (script === undefined) throw new Error(`esbuild wrote nothing for ${entry}`);
  return { script };
}
