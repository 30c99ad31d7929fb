/** What is deployed holds nothing of dev/ or test/: no switch that makes R2 fail, no door to it. */
import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { unstable_readConfig as readConfig } from "wrangler";
import { bundleWorker } from "./bundle.ts";
import { r2DoorPath } from "./r2-fault.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The files that a bundle was made of, told by its own source map. */
async function sourcesOf(entry: string): Promise<{ script: string; sources: string[] }> {
  const { script } = await bundleWorker(entry);
  const map = /\/\/# sourceMappingURL=data:application\/json;base64,(\S+)/.exec(script)?.[1] ?? "";
  const { sources } = JSON.parse(Buffer.from(map, "base64").toString()) as { sources: string[] };
  return { script, sources: sources.map((path) => relative(root, resolve(process.cwd(), path))) };
}

const isDev = (path: string) => /^(dev|test)\//.test(path);

test("the deployed bundle is made of no file of dev/ or test/", async () => {
  const { main } = readConfig({ config: resolve(root, "wrangler.toml") }, { hideWarnings: true });
  const { script, sources } = await sourcesOf(main ?? "");
  expect(sources).toContain("workers/index.ts");
  expect(sources.filter(isDev)).toEqual([]);
  expect(script).not.toContain(r2DoorPath);
});

test("the look at it would notice: the bundle for faults is made of both", async () => {
  const { script, sources } = await sourcesOf(resolve(dirname(fileURLToPath(import.meta.url)), "fault-worker.ts"));
  expect(sources).toContain("workers/index.ts");
  expect(sources.filter(isDev)).toContain("dev/r2-fault.ts");
  expect(script).toContain(r2DoorPath);
});
