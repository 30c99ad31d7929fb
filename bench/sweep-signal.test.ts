/** A sweep's bench that is told to stop leaves neither its folder nor its workerd behind. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { markedEnvironment, processesOf } from "../dev/process-table.ts";

const main = fileURLToPath(new URL("main.ts", import.meta.url));
const mostMs = 60_000;

let folder: string;
let child: ChildProcess | null = null;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sweep-signal-"));
});
afterEach(async () => {
  child?.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

const ownFolders = async () => (await readdir(folder)).filter((name) => name.startsWith("mmf-bench-sweep-"));

test.for([
  ["SIGTERM", 143, "filling the catalogue"],
  ["SIGINT", 130, "making the objects"],
] as const)("%s ends it with %i while it is %s", { timeout: 120_000 }, async ([signal, code, stage], { skip }) => {
  skip(process.platform !== "linux", "reads the process table of Linux");
  const marker = randomUUID();
  const env = { ...process.env, ...markedEnvironment(marker), TMPDIR: folder };
  const args = [main, "sweep", "--rows", "200000", "--due", "1250"];
  const bench = spawn(process.execPath, args, { env, stdio: ["ignore", "ignore", "pipe"] });
  child = bench;
  const exited = once(bench, "exit");
  let told = "";
  bench.stderr.setEncoding("utf8").on("data", (text: string) => {
    told += text;
  });
  await expect.poll(() => told, { timeout: 90_000 }).toContain(stage);
  expect(await ownFolders()).toHaveLength(1);
  bench.kill(signal);
  expect((await exited)[0]).toBe(code);
  expect(await ownFolders()).toEqual([]);
  await expect.poll(() => processesOf(marker), { timeout: mostMs }).toEqual([]);
});
