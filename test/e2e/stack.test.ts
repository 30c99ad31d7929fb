/** The local stack's own promises: ready means ready, nothing is left behind, and a restart forgets nothing. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "../../dev/eventually.ts";
import { isRunning } from "../../dev/process-table.ts";
import { objectUrl, s3Client } from "../../dev/s3.ts";
import { launchEnvironment } from "../../gpu-runner/launch-environment.ts";
import { StackProcess } from "./stack-process.ts";

const startScript = fileURLToPath(new URL("../../dev/start.ts", import.meta.url));
const goneTimeoutMs = 20_000;
const backTimeoutMs = 60_000;
const requestTimeoutMs = 10_000;

let stack: StackProcess;

beforeAll(async () => {
  stack = await StackProcess.start();
});

afterAll(async () => {
  await stack.destroy();
});

async function status(url: string, bearer?: string): Promise<number> {
  const response = await fetch(url, {
    ...(bearer === undefined ? {} : { headers: { authorization: `Bearer ${bearer}` } }),
    signal: AbortSignal.timeout(requestTimeoutMs),
  });
  await response.arrayBuffer();
  return response.status;
}

async function run(...args: string[]): Promise<{ code: number | null; output: string }> {
  const child: ChildProcess = spawn(process.execPath, [startScript, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (output += String(chunk)));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, output };
}

test("ready means ready: every address in stack.json answers at once", async () => {
  const facts = await stack.facts();
  expect((await stat(join(stack.dataDirectory, "stack.json"))).mode & 0o777).toBe(0o600);
  expect(await status(`${facts.api}/healthz`)).toBe(200);
  expect(await status(`${facts.api}/v1/assets`, facts.tokens.viewer)).toBe(200);
  expect(await status(`${facts.lucidlink.url}/v1/files?prefix=Clients`, facts.lucidlink.token)).toBe(200);
  const pulled = await fetch(`${facts.api}/v1/runner/messages/pull`, {
    method: "POST",
    headers: { authorization: `Bearer ${facts.tokens.runner}`, "content-type": "application/json" },
    body: JSON.stringify({ waitSeconds: 0 }),
  });
  expect(await pulled.json()).toEqual({ pulled: null });
  for (const pid of Object.values(facts.pids)) expect(isRunning(pid)).toBe(true);
});

test("no secret of the stack shows in any command line", async () => {
  const { wasabi, lucidlink, webhookSecret, tokens } = await stack.facts();
  const secrets = [wasabi.secretAccessKey, lucidlink.token, webhookSecret, ...Object.values(tokens)];
  for (const { command } of stack.processes()) {
    for (const secret of secrets) expect(command.join(" ")).not.toContain(secret);
  }
});

test("runners start with what keeps their memory small, and nobody else does", async () => {
  const isRunner = (command: readonly string[]) => command.some((word) => word.endsWith("gpu-runner/main.ts"));
  const [runners = [], others = []] = [true, false].map((wanted) =>
    stack.processes().filter(({ command }) => isRunner(command) === wanted),
  );
  expect(runners.length).toBeGreaterThan(0);
  for (const { environment } of runners) expect(environment).toMatchObject(launchEnvironment);
  for (const { environment } of others) expect(environment).not.toHaveProperty("MALLOC_ARENA_MAX");
});

test("a second start on the same data is refused and disturbs nothing", async () => {
  const before = await stack.facts();
  const { code, output } = await run("--data", stack.dataDirectory, "--port", "0");
  expect(code).toBe(1);
  expect(output).toContain("already runs");
  expect(await stack.facts()).toEqual(before);
  expect(await status(`${before.api}/healthz`)).toBe(200);
});

test("a child that is killed comes back at its address, and what it stored with it", async () => {
  const facts = await stack.facts();
  const s3 = s3Client(facts.wasabi);
  const url = objectUrl(facts.wasabi, "stack-test/kept");
  const body = randomBytes(100);
  expect((await s3.fetch(url, { method: "PUT", body })).status).toBe(200);
  const killed = await stack.signalChild("wasabi", "SIGKILL");
  await eventually({ what: "another wasabi", timeoutMs: backTimeoutMs, everyMs: 100 }, async () => {
    const { pids } = await stack.facts();
    return pids.wasabi !== undefined && pids.wasabi !== killed;
  });
  const read = await eventually({ what: "wasabi's answer", timeoutMs: backTimeoutMs, everyMs: 200 }, async () => {
    const response = await s3.fetch(url, { signal: AbortSignal.timeout(requestTimeoutMs) }).catch(() => null);
    return response?.ok ? Buffer.from(await response.arrayBuffer()) : null;
  });
  expect(read).toEqual(body);
  expect(stack.output()).toContain("wasabi crashed");
});

test("a supervisor that is killed takes everything with it, and the next start keeps addresses and secrets", async () => {
  const before = await stack.facts();
  const supervisor = stack.processes().find(({ command }) => command.some((word) => word.endsWith("dev/start.ts")));
  expect(supervisor).toBeDefined();
  // A stopped process notices nothing: it is for the next start to end it.
  const stopped = await stack.signalChild("app-webhook", "SIGSTOP");
  process.kill(supervisor?.pid ?? 0, "SIGKILL");
  await eventually({ what: "the end of all but the stopped one", timeoutMs: goneTimeoutMs, everyMs: 50 }, () =>
    stack.processes().every(({ pid }) => pid === stopped),
  );
  expect(isRunning(stopped)).toBe(true);

  // The supervisor is dead already: this only lets go of it.
  expect(await stack.stop()).toHaveLength(1);
  await stack.start();
  const after = await stack.facts();
  expect(isRunning(stopped)).toBe(false);
  expect({ ...after, pids: {}, tokens: {} }).toEqual({ ...before, pids: {}, tokens: {} });
  expect(await status(`${after.api}/v1/assets`, before.tokens.viewer)).toBe(200);
});

test("the end leaves no process and no pid", async () => {
  expect(await stack.stop()).toEqual([]);
  expect((await stack.facts()).pids).toEqual({});
  expect((await run("--data", stack.dataDirectory, "--stop")).output).toContain("No stack runs");
});

test("wrong options are told, and start nothing", async () => {
  for (const args of [["--port", "http"], ["--policy", "[]"], ["--runners", "-1"], ["--nonsense"]]) {
    const { code, output } = await run(...args, "--data", stack.dataDirectory);
    expect(code).toBe(2);
    expect(output).toContain(args[0]);
  }
  await writeFile(join(stack.dataDirectory, "secrets.json"), "{ broken");
  const { code, output } = await run("--data", stack.dataDirectory, "--port", "0");
  expect(code).toBe(1);
  expect(output).toContain("secrets.json is not JSON");
});
