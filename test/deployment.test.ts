/** What wrangler.toml says to the platform, as the pinned wrangler understands it: a name that it does not know is no setting. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { unstable_readConfig as readConfig } from "wrangler";

const root = fileURLToPath(new URL("..", import.meta.url));

test("a dry run of the deployment has nothing to warn of", async () => {
  const outdir = await mkdtemp(join(tmpdir(), "mmf-dry-run-"));
  try {
    const wrangler = join(root, "node_modules", "wrangler", "bin", "wrangler.js");
    // The test run itself has wrangler say less.
    const env = { ...process.env, WRANGLER_LOG: "log", NO_COLOR: "1", FORCE_COLOR: "0" };
    const options = { cwd: root, timeout: 60_000, env };
    const run = promisify(execFile)(process.execPath, [wrangler, "deploy", "--dry-run", "--outdir", outdir], options);
    const { stdout, stderr } = await run;
    expect(stdout).toContain("--dry-run: exiting now.");
    expect(`${stdout}${stderr}`).not.toMatch(/warning|unexpected field/i);
  } finally {
    await rm(outdir, { recursive: true, force: true });
  }
}, 90_000);

test("query strings stay out of the platform's logs, fetches keep to the public net, objects take new code at once", () => {
  const config = readConfig({ config: join(root, "wrangler.toml") }, { hideWarnings: true });
  expect(config.observability).toMatchObject({ enabled: true, redact_query_string: true });
  expect(config.compatibility_flags).toContain("global_fetch_strictly_public");
  expect(config.durable_objects).toMatchObject({ code_update_strategy: { mode: "immediate" } });
});
