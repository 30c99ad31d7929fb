/**
 * The worker of wrangler.toml under workerd through the Miniflare API, with the local stack's addresses and secrets as
 * bindings, the platform's cache before every origin, the pull-API worker beside it (local queues do not leave a process),
 * migrations applied and crons fired.
 */
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Cron } from "croner";
import { convertV4MiniflareOptions, type Json, Log, LogLevel, Miniflare } from "miniflare";
import { unstable_getMiniflareWorkerOptions as miniflareOptionsOf, unstable_readConfig as readConfig } from "wrangler";
import { z } from "zod";
import { bundleWorker } from "./bundle.ts";
import { applyMigrations } from "./migration.ts";
import { platformCacheName, platformCacheWorker } from "./platform-cache.ts";
import { listedQueues, pullQueueWorker } from "./pull-queue.ts";

const Port = z.int().min(0).max(65535);

export const WorkerConfig = z.strictObject({
  configPath: z.string().min(1),
  directory: z.string().min(1),
  port: Port,
  bindings: z.record(z.string(), z.string()),
  pull: z.strictObject({
    port: Port,
    token: z.string().min(1),
    queueNames: z.array(z.string().min(1)).min(1),
    maxRetries: z.int().nonnegative(),
  }),
  /** Opens the switch of the R2 binding to whoever shows it; null: the worker runs as it is deployed. */
  faultToken: z.string().min(1).nullable(),
});
export type WorkerConfig = z.infer<typeof WorkerConfig>;

const faultWorker = fileURLToPath(new URL("fault-worker.ts", import.meta.url));

export type RunningWorker = {
  url: URL;
  /** By its binding. */
  send(queue: string, message: unknown): Promise<void>;
  dispose(): Promise<void>;
};

export async function startWorker(config: WorkerConfig): Promise<RunningWorker> {
  const wranglerConfig = readConfig({ config: config.configPath });
  // The secrets come as bindings, not from the environment or .dev.vars, where wrangler would miss them aloud.
  const { secrets: _required, ...withoutSecrets } = wranglerConfig;
  const { workerOptions, define, main } = miniflareOptionsOf({ ...withoutSecrets, secrets: undefined });
  if (main === undefined) throw new Error(`${config.configPath} names no main`);
  const name = wranglerConfig.name ?? "worker";
  const { modulesRules: _rules, ...options } = workerOptions;
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      port: 0,
      cf: false,
      log: new Log(LogLevel.WARN),
      logRequests: false,
      unsafeTriggerHandlers: true,
      telemetry: { enabled: false },
      handleUncaughtError: (error) => console.error(error),
      handleStructuredLogs: ({ message }) => process.stdout.write(`${message}\n`),
      resourcePersistencePath: config.directory,
      workers: [
        {
          ...options,
          ...(await bundleWorker(config.faultToken === null ? main : faultWorker, define)),
          name,
          modules: true,
          outboundService: platformCacheName,
          // Past Miniflare's own entry, which does not always tell the worker that a client has hung up.
          unsafeDirectSockets: [{ host: "127.0.0.1", port: config.port }],
          bindings: {
            ...(options.bindings as Record<string, Json> | undefined),
            ...config.bindings,
            ...(config.faultToken === null ? {} : { FAULT_TOKEN: config.faultToken }),
          },
        },
        await platformCacheWorker(),
        await pullQueueWorker({
          ...config.pull,
          queues: listedQueues(wranglerConfig.queues, { script: name, pulled: config.pull.queueNames }),
        }),
      ],
    }),
  );
  await miniflare.ready;
  const url = await miniflare.unsafeGetDirectURL(name);
  for (const database of wranglerConfig.d1_databases) {
    const directory = resolve(dirname(config.configPath), database.migrations_dir ?? "migrations");
    const applied = await applyMigrations(await miniflare.getD1Database(database.binding, name), directory);
    for (const file of applied) console.log(JSON.stringify({ level: "info", time: Date.now(), msg: "migrated", file }));
  }
  const crons = (wranglerConfig.triggers.crons ?? []).map((cron: string) => fireCron(miniflare, cron));
  return {
    url,
    async send(queue, message) {
      await (await miniflare.getQueueProducer(queue, name)).send(message, { contentType: "json" });
    },
    async dispose() {
      for (const cron of crons) cron.stop();
      await miniflare.dispose();
    },
  };
}

/**
 * No cron fires by itself under Miniflare; a run that is still going is not started a second time. By a request, and not by
 * `getWorker().scheduled()`, which blocks this process until the runtime answers: a runtime that waits meanwhile for this
 * process to read its log would wait for ever.
 */
function fireCron(miniflare: Miniflare, cron: string): Cron {
  return new Cron(cron, { timezone: "UTC", protect: true }, async (job: Cron) => {
    try {
      const url = new URL("http://localhost/cdn-cgi/local/scheduled");
      url.searchParams.set("cron", cron);
      url.searchParams.set("time", String((job.currentRun() ?? new Date()).getTime()));
      const response = await miniflare.dispatchFetch(url);
      if (!response.ok) throw new Error(`HTTP ${response.status}: ${await response.text()}`);
    } catch (error) {
      console.error(
        JSON.stringify({ level: "error", time: Date.now(), msg: "cron failed", cron, error: String(error) }),
      );
    }
  });
}
