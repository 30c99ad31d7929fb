/** The retention sweep over a large catalogue: what it reads and how long it takes, by what is due and not by what exists. */
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { unstable_getMiniflareWorkerOptions as miniflareOptionsOf, unstable_readConfig as readConfig } from "wrangler";
import { bundleWorker } from "../dev/bundle.ts";
import { applyMigrations } from "../dev/migration.ts";
import { testBindings } from "../test/bindings.ts";
import { reach } from "../test/simulation/reach.ts";
import { OptionError, wholeNumbers } from "./bench-options.ts";
import { type Bench, figureOf, printFigures, promiseLine, say, saySometimes } from "./figure.ts";
import { type CatalogueSize, fileIdOf, fillCatalogue } from "./sweep-catalogue.ts";
import { type SeedOrder, SweepResult } from "./sweep-order.ts";

const promisedRowsPerDue = 5;
const promisedSeconds = 30;
const dayMs = 24 * 60 * 60_000;
const objectsAtOnce = 25;
/** What one tick nominates. */
const mostDue = 1_250;

const help = `Usage: npm run bench -- sweep [options]

  sweep-rows      rows that D1 reads to find who is due, against the number that is due.
                  Promise: ratio <= ${promisedRowsPerDue}
  sweep-seconds   from the sweep's begin until every due asset has decided, against
                  ${promisedSeconds} s. Promise: ratio <= 1
  sweep-find-seconds  of that, finding them alone

The worker's own sweep, catalogue and objects under workerd, on a temporary folder.
Each due copy belongs to an asset of its own, whose object exists and decides.

  --rows N   copies in the catalogue     [1000000]
  --due N    of them due, ${mostDue} at most: what one tick nominates  [1000]
  --help`;

function parseOptions(args: string[]): CatalogueSize {
  const rows = { least: 10, most: 100_000_000, unless: 1_000_000 };
  const size = wholeNumbers(args, { rows, due: { most: mostDue, unless: 1_000 } });
  if (size.due > size.rows / 5) throw new OptionError("--due takes a fifth of the rows at most.");
  return size;
}

/** A life that the machine itself went through, once for each due asset. */
function documentsOf({ due }: CatalogueSize, nowMs: number): SeedOrder["documents"] {
  const { asset } = reach("distributed", 2160).run;
  const placedAtMs = nowMs - 32 * dayMs;
  const renditions = asset.renditions.map((rendition) => {
    const copy = rendition.copies.find(({ tier }) => tier === "r2") ?? asset.renditions[0]?.copies[0];
    if (copy === undefined) throw new Error("a distributed asset has a copy on R2");
    const copies = [{ ...copy, tier: "r2" as const, placedAtMs, lastAccessAtMs: null }];
    return { ...rendition, copies };
  });
  return Array.from({ length: due }, (_, n) => {
    const fileId = fileIdOf(n);
    return { fileId, document: JSON.stringify({ ...asset, fileId, renditions }) };
  });
}

async function startBenchWorker(directory: string): Promise<Miniflare> {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const { secrets: _, ...config } = readConfig({ config: join(root, "wrangler.toml") }, { hideWarnings: true });
  const { workerOptions, define } = miniflareOptionsOf({ ...config, secrets: undefined });
  const { modulesRules: __, ...options } = workerOptions;
  const objects = { ASSET: "SeededAssetObject", FEED: "SeededFeedObject" };
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      ...options,
      ...(await bundleWorker(fileURLToPath(new URL("sweep-worker.ts", import.meta.url)), define)),
      name: "sweep",
      host: "127.0.0.1",
      port: 0,
      modules: true,
      cf: false,
      log: new Log(LogLevel.WARN),
      logRequests: false,
      telemetry: { enabled: false },
      handleStructuredLogs: () => undefined,
      resourcePersistencePath: directory,
      durableObjects: Object.fromEntries(
        Object.entries(objects).map(([name, className]) => [name, { className, useSQLite: true }]),
      ),
      bindings: { ...testBindings },
    }),
  );
  await miniflare.ready;
  await applyMigrations(await miniflare.getD1Database("CATALOGUE", "sweep"), join(root, "migrations"));
  return miniflare;
}

async function measure(miniflare: Miniflare, options: CatalogueSize, nowMs: number): Promise<void> {
  const origin = await miniflare.ready;
  const ask = async (path: string, body: unknown): Promise<unknown> => {
    const response = await fetch(new URL(path, origin), { method: "POST", body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
    return response.json();
  };
  say(`making the objects of the ${options.due} assets`);
  const documents = documentsOf(options, nowMs);
  for (let from = 0; from < documents.length; from += objectsAtOnce) {
    await ask("/seed", { documents: documents.slice(from, from + objectsAtOnce) });
    saySometimes(`    ${from} objects`);
  }
  const found = SweepResult.parse(await ask("/find", { nowMs }));
  say(`found ${found.nominated} in ${found.seconds.toFixed(2)} s, ${found.rowsRead} rows read`);
  const swept = SweepResult.parse(await ask("/sweep", { nowMs }));
  say(`swept ${swept.nominated} in ${swept.seconds.toFixed(2)} s, ${swept.rowsRead} rows read`);
  if (swept.nominated !== options.due || swept.unanswered > 0) {
    throw new Error(`${options.due} were due; ${swept.nominated} were nominated, ${swept.unanswered} gave no answer`);
  }
  await expectDecided(miniflare, options);
  const rows = figureOf("sweep-rows", swept.rowsRead, options.due);
  const seconds = figureOf("sweep-seconds", swept.seconds, promisedSeconds);
  say(promiseLine(rows, { atMost: promisedRowsPerDue }));
  say(promiseLine(seconds, { atMost: 1 }));
  printFigures([rows, seconds, figureOf("sweep-find-seconds", found.seconds, promisedSeconds)]);
}

interface Objects {
  getByName(name: string): { view(): Promise<{ renditions: unknown[] } | null> };
}

/** A sweep that nobody acted on would be fast. */
async function expectDecided(miniflare: Miniflare, { due }: CatalogueSize): Promise<void> {
  const objects = (await miniflare.getDurableObjectNamespace("ASSET", "sweep")) as unknown as Objects;
  for (const n of [0, Math.floor(due / 2), due - 1]) {
    const decided = JSON.stringify((await objects.getByName(fileIdOf(n)).view())?.renditions).includes(
      '"status":"removing"',
    );
    if (!decided) throw new Error(`${fileIdOf(n)} was nominated, and did not decide to let its copy go`);
  }
}

/**
 * Nothing is waited for: taking down a runtime in the middle of a call may hang. Miniflare kills its workerd as the process
 * exits, and what is registered last comes after that.
 * @returns what ends the watch
 */
function removeAtSignal(directory: string): () => void {
  const leave = (_signal: NodeJS.Signals, number: number) => {
    process.on("exit", () => rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
    process.exit(128 + number);
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, leave);
  return () => {
    for (const signal of signals) process.off(signal, leave);
  };
}

async function run(args: string[]): Promise<void> {
  const options = parseOptions(args);
  const directory = await mkdtemp(join(tmpdir(), "mmf-bench-sweep-"));
  const ignoreSignals = removeAtSignal(directory);
  let miniflare: Miniflare | null = null;
  try {
    const nowMs = Date.now();
    miniflare = await startBenchWorker(directory);
    await miniflare.dispose();
    say(`filling the catalogue: ${options.rows} copies, ${options.due} of them due`);
    await fillCatalogue(directory, options, nowMs);
    miniflare = await startBenchWorker(directory);
    await measure(miniflare, options, nowMs);
  } finally {
    await miniflare?.dispose();
    await rm(directory, { recursive: true, force: true });
    ignoreSignals();
  }
}

export const sweepBench: Bench = {
  says: "the retention sweep: what it reads and takes over a million rows",
  help,
  run,
};
