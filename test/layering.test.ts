/** The layering is a set of lint rules: each arrow that must not exist is drawn here, and the linter must refuse it. */
import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const rules = ["style/noRestrictedImports", "suspicious/noImportCycles"];

type Finding = { rule: string; file: string };

/** Lints every file under `directory` with the layering rules alone. */
async function lint(directory: string, ...options: string[]): Promise<Finding[]> {
  const biome = path.join(root, "node_modules/@biomejs/biome/bin/biome");
  const only = rules.map((rule) => `--only=${rule}`);
  const stdout = await new Promise<string>((resolve, reject) => {
    const command = [biome, "lint", "--reporter=json", "--max-diagnostics=none", ...only, ...options, "."];
    execFile(process.execPath, command, { cwd: directory, maxBuffer: 64 * 1024 * 1024 }, (error, out, err) => {
      if (out.trimStart().startsWith("{")) resolve(out);
      else reject(new Error(`the linter gave no report: ${err}`, { cause: error }));
    });
  });
  const report = JSON.parse(stdout) as { diagnostics: { category: string; location: { path: string } }[] };
  return report.diagnostics.map((finding) => ({
    rule: finding.category.replace(/^lint\//, ""),
    file: path.relative(directory, path.resolve(directory, finding.location.path)),
  }));
}

const refused: readonly (readonly [file: string, source: string])[] = [
  ["schemas/up-to-worker.ts", `import { x } from "../workers/api/door.ts"; export const y = x;`],
  ["schemas/up-to-object.ts", `import { x } from "../durable-objects/asset-object.ts"; export const y = x;`],
  ["schemas/node-module.ts", `import { x } from "node:fs"; export const y = x;`],
  ["schemas/npm-module.ts", `import { x } from "itty-router"; export const y = x;`],
  ["durable-objects/machine/up-to-shell.ts", `import { x } from "../asset-object.ts"; export const y = x;`],
  ["durable-objects/machine/type-of-shell.ts", `import type { X } from "../asset-object.ts"; export type Y = X;`],
  ["durable-objects/machine/re-export.ts", `export { x } from "../asset-object.ts";`],
  ["durable-objects/machine/late-import.ts", `export const y = () => import("cloudflare:workers");`],
  ["durable-objects/machine/store.ts", `import { x } from "../../workers/stores/r2.ts"; export const y = x;`],
  ["durable-objects/machine/clock.ts", `import { x } from "node:timers"; export const y = x;`],
  ["durable-objects/up-to-api.ts", `import { x } from "../workers/api/door.ts"; export const y = x;`],
  ["durable-objects/up-to-consumer.ts", `import { x } from "../workers/consumers/r2.ts"; export const y = x;`],
  ["durable-objects/up-to-entry.ts", `import { x } from "../workers/index.ts"; export const y = x;`],
  ["durable-objects/runner.ts", `import { x } from "../gpu-runner/main.ts"; export const y = x;`],
  ["workers/stores/up-to-object.ts", `import { x } from "../../durable-objects/asset-object.ts"; export const y = x;`],
  ["workers/stores/up-to-api.ts", `import { x } from "../api/door.ts"; export const y = x;`],
  ["workers/stores/up-to-entry.ts", `import { x } from "../index.ts"; export const y = x;`],
  ["workers/api/up-to-entry.ts", `import { x } from "../index.ts"; export const y = x;`],
  ["workers/api/beside.ts", `import { x } from "../consumers/r2.ts"; export const y = x;`],
  ["workers/consumers/beside.ts", `import { x } from "../delivery/range.ts"; export const y = x;`],
  ["workers/delivery/beside.ts", `import { x } from "../cron/sweep.ts"; export const y = x;`],
  ["workers/cron/beside.ts", `import { x } from "../api/door.ts"; export const y = x;`],
  ["workers/consumers/decide.ts", `import { transition } from "../../durable-objects/machine/a.ts"; transition();`],
  ["workers/api/runner.ts", `import { x } from "../../gpu-runner/main.ts"; export const y = x;`],
  ["workers/api/by-name.ts", `import { x } from "@motion-mavericks-fast/gpu-runner/main.ts"; export const y = x;`],
  ["workers/api/test-code.ts", `import { x } from "../../test/bindings.ts"; export const y = x;`],
  ["workers/shared-to-runner.ts", `import { x } from "../gpu-runner/main.ts"; export const y = x;`],
  ["gpu-runner/media/worker.ts", `import { x } from "../../workers/stores/wasabi.ts"; export const y = x;`],
  ["gpu-runner/object.ts", `import { x } from "../durable-objects/machine/a.ts"; export const y = x;`],
  ["gpu-runner/agent.ts", `import { x } from "../lucid-agent/main.ts"; export const y = x;`],
  ["gpu-runner/platform.ts", `import { x } from "cloudflare:workers"; export const y = x;`],
  ["gpu-runner/dev-code.ts", `import { x } from "../dev/stack.ts"; export const y = x;`],
  ["lucid-agent/runner.ts", `import { x } from "../gpu-runner/main.ts"; export const y = x;`],
  ["lucid-agent/worker.ts", `import { x } from "../workers/stores/lucidlink.ts"; export const y = x;`],
];

const allowed: readonly (readonly [file: string, source: string])[] = [
  ["schemas/plain.ts", `import { z } from "zod"; import { k } from "./key.ts"; export const y = [z, k];`],
  [
    "durable-objects/machine/plain.ts",
    `import { k } from "../../schemas/key.ts"; import { z } from "zod"; import { q } from "./a.ts"; export const y = [k, q, z];`,
  ],
  [
    "durable-objects/plain.ts",
    `import { W } from "cloudflare:workers"; import { s } from "../workers/stores/queue.ts"; import { q } from "./machine/a.ts"; import { k } from "../schemas/key.ts"; export const y = [W, s, q, k];`,
  ],
  [
    "workers/stores/plain.ts",
    `import { A } from "aws4fetch"; import { k } from "../../schemas/key.ts"; import { c } from "./config.ts"; export const y = [A, k, c];`,
  ],
  [
    "workers/api/plain.ts",
    `import { A } from "itty-router"; import { s } from "../stores/r2.ts"; import { d } from "../../durable-objects/asset-door.ts"; import { k } from "../../schemas/key.ts"; import { p } from "../problem.ts"; import { o } from "./other.ts"; import type { E } from "../../durable-objects/machine/a.ts"; export const y: E[] = [A, s, d, k, p, o];`,
  ],
  [
    "workers/index.ts",
    `import { a } from "./api/door.ts"; import { d } from "../durable-objects/asset-object.ts"; export const y = [a, d];`,
  ],
  [
    "gpu-runner/media/plain.ts",
    `import fs from "node:fs"; import { W } from "ws"; import { k } from "../../schemas/key.ts"; import { c } from "../config.ts"; export const y = [fs, W, k, c];`,
  ],
  [
    "lucid-agent/plain.ts",
    `import fs from "node:fs"; import { k } from "../schemas/key.ts"; import { c } from "./config.ts"; export const y = [fs, k, c];`,
  ],
  [
    "dev/anything.ts",
    `import { g } from "../gpu-runner/main.ts"; import { w } from "../workers/index.ts"; export const y = [g, w];`,
  ],
  [
    "test/anything.ts",
    `import { g } from "../gpu-runner/main.ts"; import { w } from "../durable-objects/machine/a.ts"; export const y = [g, w];`,
  ],
];

const cycle: readonly (readonly [file: string, source: string])[] = [
  ["workers/consumers/left.ts", `import { right } from "./right.ts"; export const left = (): unknown => right;`],
  ["workers/consumers/right.ts", `import { left } from "./left.ts"; export const right = (): unknown => left;`],
];

describe("the layering rules", () => {
  let copy: string;
  let findings: Finding[];

  beforeAll(async () => {
    copy = await mkdtemp(path.join(tmpdir(), "layering-"));
    await copyFile(path.join(root, "biome.json"), path.join(copy, "biome.json"));
    for (const [file, source] of [...refused, ...allowed, ...cycle]) {
      await mkdir(path.dirname(path.join(copy, file)), { recursive: true });
      await writeFile(path.join(copy, file), `${source}\n`);
    }
    findings = await lint(copy, "--vcs-enabled=false");
  });

  afterAll(() => rm(copy, { recursive: true, force: true }));

  const rulesBrokenBy = (file: string): string[] => [
    ...new Set(findings.filter((finding) => finding.file === file).map((finding) => finding.rule)),
  ];

  test.each(refused)("refuse %s", (file) => {
    expect(rulesBrokenBy(file)).toEqual(["style/noRestrictedImports"]);
  });

  test.each(allowed)("allow %s", (file) => {
    expect(rulesBrokenBy(file)).toEqual([]);
  });

  test.each(cycle)("refuse the cycle through %s", (file) => {
    expect(rulesBrokenBy(file)).toEqual(["suspicious/noImportCycles"]);
  });

  test("pass over the tree as it stands", async () => {
    expect(await lint(root)).toEqual([]);
  });
});
