/**
 * `npm run test:s3`: suites of the pipeline with Ceph's S3 server in Wasabi's place, a real one that a machine must have.
 * The files are those of the other suites, and what no other server can show (`test/s3`).
 */
import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { requirePrograms } from "./dev/ceph/program.ts";
import { localS3Variable } from "./dev/local-s3.ts";
import { testBindings } from "./test/bindings.ts";
import { offerFfmpeg } from "./test/ffmpeg-path.ts";

requirePrograms();
offerFfmpeg();
// For the global set-up, which runs here; the stacks' processes inherit it.
process.env[localS3Variable] = "ceph";

export default defineConfig({
  test: {
    silent: "passed-only",
    projects: [
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: { bindings: { ...testBindings, TEST_MIGRATIONS: await readD1Migrations("./migrations") } },
          }),
        ],
        test: {
          name: "s3-workers",
          sequence: { groupOrder: 0 },
          include: ["workers/**/*.test.ts", "durable-objects/**/*.test.ts"],
          exclude: ["durable-objects/machine/**"],
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
          include: ["test/s3/**/*.test.ts", "test/e2e/**/*.test.ts"],
          // It tells what a store without versioning and policies cannot; test/s3 has the one for a store that can.
          exclude: ["test/e2e/doctor.test.ts"],
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 180_000,
          retry: 0,
        },
      },
    ],
  },
});
