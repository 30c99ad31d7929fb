/** The real process: killed midway and started again, stopped politely, and asked for help. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ask, bytesOf, filesBelow, placeOf, settledTransfer, token, until } from "./testing/agent-client.ts";
import { type CallbackServer, callbackSecret, startCallbackServer } from "./testing/callback-server.ts";
import { type OriginServer, startOrigin } from "./testing/origin-server.ts";

const main = fileURLToPath(new URL("main.ts", import.meta.url));
// The one that runs .ts directly, whichever runs the tests.
const node = fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url));
const bytes = bytesOf(2_000_000);
const id = "0123456789abcdef01234567_1080p_1";
const key = "Clients/acme/launch/0123456789abcdef01234567_1080p.mp4";

// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let directory: string;
let root: string;
let origin: OriginServer;
let receiver: CallbackServer;
let children: ChildProcess[];

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "lucid-agent-process-"));
  root = path.join(directory, "tree");
  await mkdir(root);
  origin = await startOrigin(bytes);
  receiver = await startCallbackServer();
  children = [];
});

afterEach(async () => {
  for (const child of children) await stop(child, "SIGKILL");
  await Promise.all([origin.stop(), receiver.stop()]);
  await rm(directory, { recursive: true });
});

/** @returns once its ready line is out */
async function start(): Promise<{ child: ChildProcess; url: string; output: () => string }> {
  const child = spawn(node, [main, "--root", root, "--port", "0", "--min-free-bytes", "0"], {
    env: {
      PATH: process.env.PATH,
      LUCID_AGENT_STATE_DIR: path.join(directory, "state"),
      LUCID_AGENT_TOKEN: token,
      LUCID_AGENT_CALLBACK_SECRET: callbackSecret,
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  let output = "";
  child.stdout?.on("data", (chunk) => {
    output += chunk;
  });
  const line = await until(
    () => output.split("\n").find((each) => each.includes('"event":"ready"')),
    (found) => found !== undefined,
  );
  return { child, url: JSON.parse(line ?? "").url, output: () => output };
}

async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  child.kill(signal);
  return exited;
}

const temporaryBytes = async () => {
  const [name] = await filesBelow(root);
  return name === undefined ? 0 : (await stat(path.join(root, name))).size;
};

test("killed midway, it goes on after the restart from what had landed, and leaves no temporary file", async () => {
  const first = await start();
  origin.bytesPerSecond = 1_000_000;
  await ask(first.url, "PUT", `/v1/transfers/${id}`, placeOf(bytes, origin.url, receiver.url));
  await until(temporaryBytes, (landed) => landed > 300_000);
  await stop(first.child, "SIGKILL");
  const landed = await temporaryBytes();
  const abandoned = path.join(root, "Clients/acme/launch/.feedfacefeedface_720p.mp4.0123456789abcdef.part");
  await writeFile(abandoned, "left by a transfer that nobody remembers");
  expect(await filesBelow(root)).not.toContain(key);

  origin.bytesPerSecond = null;
  const second = await start();
  expect(await settledTransfer(second.url, id)).toMatchObject({ status: "durable", bytesWritten: bytes.length });
  expect(bytes.equals(await readFile(path.join(root, key)))).toBe(true);
  expect(await filesBelow(root)).toEqual([key]);
  expect(origin.ranges).toEqual([`bytes=0-${bytes.length - 1}`, `bytes=${landed}-${bytes.length - 1}`]);
  await until(
    () => receiver.received.map((call) => [call.genuine, call.body.type]),
    (calls) => calls.length > 0,
  );
  expect(receiver.received.map((call) => [call.genuine, call.body.type])).toEqual([[true, "transfer.durable"]]);
});

test("bytes that a crash damaged are fetched again", async () => {
  const first = await start();
  origin.bytesPerSecond = 1_000_000;
  await ask(first.url, "PUT", `/v1/transfers/${id}`, placeOf(bytes, origin.url, receiver.url));
  await until(temporaryBytes, (landed) => landed > 100_000);
  await stop(first.child, "SIGKILL");
  const [temporary = ""] = await filesBelow(root);
  await writeFile(path.join(root, temporary), Buffer.alloc(100_000));
  origin.bytesPerSecond = null;
  const second = await start();
  expect(await settledTransfer(second.url, id)).toMatchObject({ status: "durable" });
  expect(bytes.equals(await readFile(path.join(root, key)))).toBe(true);
});

test("a callback that was not accepted before a kill is made after the restart", async () => {
  const first = await start();
  receiver.answers.push(503);
  await ask(first.url, "PUT", `/v1/transfers/${id}`, placeOf(bytes, origin.url, receiver.url));
  await until(
    () => first.output().includes("callback not accepted"),
    (said) => said,
  );
  await stop(first.child, "SIGKILL");
  await start();
  await until(
    () => receiver.received.length,
    (calls) => calls >= 2,
  );
  expect(new Set(receiver.received.map((call) => call.webhookId)).size).toBe(1);
});

test("SIGTERM during a copy ends it at once with 0, and the copy goes on later", async () => {
  const first = await start();
  origin.bytesPerSecond = 1_000_000;
  await ask(first.url, "PUT", `/v1/transfers/${id}`, placeOf(bytes, origin.url, receiver.url));
  await until(temporaryBytes, (landed) => landed > 100_000);
  expect(await stop(first.child, "SIGTERM")).toBe(0);
  expect(receiver.received).toEqual([]);
  origin.bytesPerSecond = null;
  const second = await start();
  expect(await settledTransfer(second.url, id)).toMatchObject({ status: "durable" });
});

test.each(["stalls", "went away"])(
  "a reader of its log that %s holds up neither requests nor the end",
  async (trouble) => {
    const { child, url } = await start();
    if (trouble === "stalls") child.stdout?.pause();
    else child.stdout?.destroy();
    const noted = "x".repeat(8_000);
    for (let n = 0; n < 100; n += 1) await ask(url, "GET", `/${noted}`);
    expect(await ask(url, "GET", "/healthz")).toMatchObject({ status: 200 });
    expect(await Promise.race([stop(child, "SIGTERM"), delay(20_000, "did not end")])).toBe(0);
  },
);

test("--help tells every flag; wrong settings are named without their values", async () => {
  const run = promisify(execFile);
  const { stdout } = await run(node, [main, "--help"], { env: { PATH: process.env.PATH } });
  expect(stdout).toContain("--require-mount");
  expect(stdout).toContain("LUCID_AGENT_CALLBACK_SECRET");
  const env = { PATH: process.env.PATH, LUCID_AGENT_TOKEN: "short", LUCID_AGENT_CALLBACK_SECRET: "hush" };
  const refused = await run(node, [main, "--port", "70000"], { env }).catch((error) => error);
  expect(refused.code).toBe(2);
  for (const name of ["LUCID_AGENT_TOKEN", "LUCID_AGENT_CALLBACK_SECRET", "--port"]) {
    expect(refused.stderr).toContain(name);
  }
  expect(refused.stderr).not.toContain("hush");
});
