/** A bare `fetch` would go through the platform's cache: a lint rule refuses it wherever the worker's code lies. */
import { execFileSync } from "node:child_process";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const biome = path.join(root, "node_modules/@biomejs/biome/bin/biome");

/** The lines on which the rule finds something. */
async function lint(file: string, source: string): Promise<number[]> {
  const directory = await mkdtemp(path.join(tmpdir(), "outbound-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  await copyFile(path.join(root, "biome.json"), path.join(directory, "biome.json"));
  await mkdir(path.dirname(path.join(directory, file)), { recursive: true });
  await writeFile(path.join(directory, file), source);
  const run = ["lint", "--reporter=json", "--vcs-enabled=false", file];
  let report: string;
  try {
    report = execFileSync(process.execPath, [biome, ...run], { cwd: directory, encoding: "utf8", stdio: "pipe" });
  } catch (error) {
    report = (error as { stdout: string }).stdout;
  }
  type Diagnostic = { category: string; location: { start: { line: number } } };
  const { diagnostics } = JSON.parse(report) as { diagnostics: Diagnostic[] };
  const ours = diagnostics.filter(({ category }) => category === "lint/style/noRestrictedGlobals");
  return ours.map(({ location }) => location.start.line);
}

const bare = [
  `export const a = () => fetch("https://s3.example.com/x.mp4");`,
  "export const b = [1].map(() => fetch);",
  `export const c = () => globalThis.fetch("https://s3.example.com/x.mp4");`,
  `export const d = () => self.fetch("https://s3.example.com/x.mp4");`,
].join("\n");

test.each(["workers/new-door.ts", "workers/stores/new-store.ts", "workers/api/a.ts", "durable-objects/new-object.ts"])(
  "%s may not call fetch by itself",
  async (file) => {
    expect(await lint(file, bare)).toEqual([1, 2, 3, 4]);
  },
);

test("calls to objects and handlers named fetch stay as they are", async () => {
  const stub = "export const a = (door: { fetch(): void }) => door.fetch();\nexport default { fetch() {} };\n";
  expect(await lint("workers/api/door.ts", stub)).toEqual([]);
});

test.each(["workers/stores/deadline.ts", "dev/tool.ts", "workers/x.test.ts"])("%s may", async (file) => {
  expect(await lint(file, bare)).toEqual([]);
});
