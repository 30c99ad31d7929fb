/**
 * Three suites: `unit` in Node, `workers` inside workerd with the real bindings, `e2e` with real processes. One after the
 * other: a two-core machine cannot encode video and keep a promise about seconds at the same time.
 */
import { existsSync } from "node:fs";
import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { platformCacheName, platformCacheWorker } from "./dev/platform-cache.ts";
import { testBindings } from "./test/bindings.ts";
import { offerFfmpeg } from "./test/ffmpeg-path.ts";
import { offerSecrets } from "./test/wrangler-secrets.ts";

offerFfmpeg();
offerSecrets();

const migrations = existsSync("./migrations") ? await readD1Migrations("./migrations") : [];

export default defineConfig({
  test: {
    // What a passing test logs is of no use to its reader.
    silent: "passed-only",
    reporters: ["default", "./test/skip-reporter.ts"],
    projects: [
      {
        test: {
          name: "unit",
          sequence: { groupOrder: 0 },
          environment: "node",
          include: [
            "{schemas,gpu-runner,lucid-agent,dev,bench,dashboard}/**/*.test.ts",
            "durable-objects/machine/**/*.test.ts",
            "test/*.test.ts",
          ],
          testTimeout: 30_000,
        },
      },
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: { ...testBindings, TEST_MIGRATIONS: migrations },
              outboundService: platformCacheName,
              workers: [await platformCacheWorker()],
            },
          }),
        ],
        test: {
          name: "workers",
          sequence: { groupOrder: 1 },
          include: ["workers/**/*.test.ts", "durable-objects/**/*.test.ts"],
          exclude: ["durable-objects/machine/**"],
          globalSetup: ["./test/local-wasabi.ts"],
          setupFiles: ["./test/migration-worker.ts"],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: "e2e",
          sequence: { groupOrder: 2 },
          environment: "node",
          include: ["test/e2e/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 120_000,
          retry: 0,
        },
      },
    ],
  },
});
