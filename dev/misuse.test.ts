/** Every command, called as a person calls it: help is told on request, and a mistake is told with where help is. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test, vi } from "vitest";

// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

const root = fileURLToPath(new URL("..", import.meta.url));

/** @returns how it ended, of a process without settings */
function run(entry: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const options = { cwd: root, env: { PATH: process.env.PATH }, timeout: 60_000 };
    execFile("node_modules/.bin/node", [entry, ...args], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}

const commands: [entry: string, wrong: string[], hint: string][] = [
  ["dev/start.ts", ["--port", "99999"], "See npm start -- --help"],
  ["dev/demo.ts", ["--client", "Not A Slug"], "See npm run demo -- --help"],
  ["dev/doctor/main.ts", ["--env", "no-such-file"], "See npm run doctor -- --help"],
  ["dev/faults.ts", ["--runs", "none"], "See npm run faults -- --help"],
  ["dev/render-segments.ts", ["--segments", "many", "file-id-0001"], "See npm run render-segments -- --help"],
  ["bench/main.ts", ["delivery", "--runs", "0"], "See npm run bench -- delivery --help"],
  ["gpu-runner/main.ts", ["--concurrency", "0"], "See node gpu-runner/main.ts --help"],
  ["lucid-agent/main.ts", ["--port", "none"], "See node lucid-agent/main.ts --help"],
];

test.each(commands)("%s tells its usage when asked, and ends with 0", async (entry) => {
  const { code, stdout, stderr } = await run(entry, "--help");
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("Usage: ");
  for (const line of stdout.split("\n")) expect(line.length, line).toBeLessThanOrEqual(120);
});

test.each(commands)("%s tells an option that it does not know, and ends with 2", async (entry, _wrong, hint) => {
  const bench = entry.startsWith("bench") ? ["delivery"] : [];
  const { code, stdout, stderr } = await run(entry, ...bench, "--no-such-option");
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain("--no-such-option");
  expect(stderr).toContain(hint);
});

test.each(commands)("%s tells a value that it cannot use, and ends with 2", async (entry, wrong, hint) => {
  const { code, stdout, stderr } = await run(entry, ...wrong);
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain(wrong.find((each) => each.startsWith("--")));
  expect(stderr).toContain(hint);
});

test("a bench that there is not is told with those that there are", async () => {
  for (const name of ["no-such-bench", "constructor"]) {
    const { code, stderr } = await run("bench/main.ts", name);
    expect(code).toBe(2);
    expect(stderr).toContain(`no bench named ${name}`);
    expect(stderr).toContain("delivery");
  }
});
