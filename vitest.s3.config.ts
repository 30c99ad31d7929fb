/**
 * `npm run test:s3`: suites of the pipeline with Ceph's S3 server in Wasabi's place, a real one that a machine must have.
 * The files are those of the other suites, and what no other server can show (`test/s3`).
 */
import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { requirePrograms } from "./dev/ceph/program.ts";
import { localS3Variable } from "./dev/local-s3.ts";
import { platformCacheName, platformCacheWorker } from "./dev/platform-cache.ts";
import { testBindings } from "./test/bindings.ts";
import { offerFfmpeg } from "./test/ffmpeg-path.ts";
import { offerSecrets } from "./test/wrangler-secrets.ts";

requirePrograms();
offerFfmpeg();
offerSecrets();
// For the global set-up, which runs here; the stacks' processes inherit it.
process.env[localS3Variable] = "ceph";

/** What asks a real S3 most. `MMF_S3=ceph npm run test:e2e` runs the whole suite. */
const storeSuites = ["stores/wasabi", "stores/wasabi-proof", "consumers/original", "consumers/storage"].map(
  (name) => `workers/${name}.test.ts`,
);
const pipelineSuites = ["pipeline", "transfer", "delivery-conformance", "render-segments", "fault-network"].map(
  (name) => `test/e2e/${name}.test.ts`,
);

export default defineConfig({
  test: {
    silent: "passed-only",
    reporters: ["default", "./test/skip-reporter.ts"],
    projects: [
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              bindings: { ...testBindings, TEST_MIGRATIONS: await readD1Migrations("./migrations") },
              outboundService: platformCacheName,
              workers: [await platformCacheWorker()],
            },
          }),
        ],
        test: {
          name: "s3-workers",
          sequence: { groupOrder: 0 },
          include: ["test/s3/workers/*.test.ts", ...storeSuites],
          globalSetup: ["./test/local-wasabi.ts"],
          setupFiles: ["./test/migration-worker.ts"],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: "s3",
          sequence: { groupOrder: 1 },
          environment: "node",
          include: ["test/s3/*.test.ts", ...pipelineSuites],
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 180_000,
          retry: 0,
        },
      },
    ],
  },
});
