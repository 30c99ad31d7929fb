/** The runner as a process of its own, with the real ffmpeg, against a peer that follows the protocol. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { apiToken, jobMessage, type Peer, pullToken, startPeer } from "./job/testing/protocol-peer.ts";
import { makeTestFolder, runFfmpeg } from "./media/testing/ffmpeg-clip.ts";

vi.setConfig({ testTimeout: 120_000 });

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
let clip: Buffer;
let peer: Peer;
let runner: ReturnType<typeof startRunner>;

beforeAll(async () => {
  folder = await makeTestFolder();
  const file = (name: string) => join(folder.path, name);
  const encoding = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p".split(" ");
  await runFfmpeg(["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=2", ...encoding, file("short.mp4")]);
  await runFfmpeg(["-stream_loop", "299", "-i", file("short.mp4"), "-c", "copy", file("long.mp4")]);
  clip = await readFile(file("long.mp4"));
});
afterAll(() => folder.remove());
afterEach(async () => {
  runner.child.kill("SIGKILL");
  await peer.stop();
});

function startRunner(args: string[] = [], variables: Record<string, string> = {}) {
  const child = spawn(process.execPath, [fileURLToPath(new URL("main.ts", import.meta.url)), ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: {
      PATH: process.env.PATH,
      TMPDIR: folder.path,
      MMF_API_URL: peer.url,
      MMF_RUNNER_TOKEN: apiToken,
      MMF_PULL_URL: peer.pullUrl,
      MMF_PULL_TOKEN: pullToken,
      MMF_RUNNER_ID: "runner-under-test",
      FFMPEG_ENCODER: "x264",
      ...variables,
    },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const exited = once(child, "exit").then(([code, signal]) => (signal ?? code) as string | number);
  return { child, exited, output: () => output };
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(20);
}

/** The runner's own children, by name. */
async function childrenOf(child: ChildProcess, name: string): Promise<number[]> {
  const text = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").catch(() => "");
  const pids = text.split(" ").filter((pid) => pid !== "");
  const names = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/comm`, "utf8").catch(() => "")));
  return pids.map(Number).filter((_, index) => names[index]?.trim() === name);
}

async function startEncoding(variables: Record<string, string> = {}): Promise<number> {
  peer = await startPeer({ source: clip });
  peer.enqueue("message-1", jobMessage());
  runner = startRunner([], variables);
  await peer.until("frame:progress");
  const [ffmpeg] = await childrenOf(runner.child, "ffmpeg");
  if (ffmpeg === undefined) throw new Error(`no ffmpeg runs: ${runner.output()}`);
  return ffmpeg;
}

const isAlive = (pid: number) => existsSync(`/proc/${pid}`);
const socketFolders = async () => (await readdir(folder.path)).filter((name) => name.startsWith("encode-"));

test("SIGTERM stops ffmpeg, gives the job back and ends well; no secret was logged", async () => {
  const ffmpeg = await startEncoding();
  const commandLine = await readFile(`/proc/${ffmpeg}/cmdline`, "utf8");
  runner.child.kill("SIGTERM");
  expect(await runner.exited).toBe(0);
  expect(isAlive(ffmpeg)).toBe(false);
  expect(peer.framesOf("release")).toHaveLength(1);
  expect(peer.journal).toContain("ack:message-1");
  expect(await socketFolders()).toEqual([]);
  const log = runner.output();
  expect(log).toContain('"encoder":"x264"');
  expect(log).toContain("runner ready: pulling");
  for (const secret of [apiToken, pullToken, "source-signature", "part-signature", "X-Amz"]) {
    expect(log).not.toContain(secret);
    expect(commandLine).not.toContain(secret);
  }
});

test("SIGTERM ends it in time even if the API has fallen silent", async () => {
  const ffmpeg = await startEncoding();
  for (const { socket } of peer.frames) socket.pause();
  runner.child.kill("SIGTERM");
  const ended = await Promise.race([runner.exited, sleep(30_000, "still running", { ref: false })]);
  expect(ended).toBe(0);
  expect(isAlive(ffmpeg)).toBe(false);
});

test("killed by force, it leaves no ffmpeg behind", async () => {
  const ffmpeg = await startEncoding();
  runner.child.kill("SIGKILL");
  expect(await runner.exited).toBe("SIGKILL");
  await until(() => !isAlive(ffmpeg));
});

test("with MMF_EXIT_WITH_PARENT it ends when its standard input closes", async () => {
  const ffmpeg = await startEncoding({ MMF_EXIT_WITH_PARENT: "1" });
  runner.child.stdin?.end();
  expect(await runner.exited).toBe(0);
  expect(isAlive(ffmpeg)).toBe(false);
  expect(peer.framesOf("release")).toHaveLength(1);
});

test("while it encodes, no media file is open and nothing grows in the temporary folder", async () => {
  const ffmpeg = await startEncoding();
  for (const pid of [runner.child.pid, ffmpeg]) {
    const links = await readdir(`/proc/${pid}/fd`);
    const targets = await Promise.all(links.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")));
    expect(targets.filter((target) => target.startsWith(folder.path) || target.startsWith("/dev/shm"))).toEqual([]);
  }
  const [sockets = ""] = await socketFolders();
  expect((await readdir(join(folder.path, sockets))).every((name) => name.endsWith(".sock"))).toBe(true);
});

test("health and metrics tell what it does", async () => {
  peer = await startPeer();
  runner = startRunner(["--health-port", "0"]);
  await until(() => runner.output().includes("healthPort"));
  const port = /"healthPort":(\d+)/.exec(runner.output())?.[1];
  const health = await fetch(`http://127.0.0.1:${port}/healthz`);
  expect(health.status).toBe(200);
  expect(await health.json()).toMatchObject({ runnerId: "runner-under-test", encoder: "x264", stopped: null });
  expect(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).toContain("runner_pulling");
});

test("bad settings are named, and end it with 2", async () => {
  peer = await startPeer();
  runner = startRunner(["--concurrency", "0"], { MMF_API_URL: "nonsense" });
  expect(await runner.exited).toBe(2);
  expect(runner.output()).toMatch(/--concurrency/);
  expect(runner.output()).toMatch(/MMF_API_URL/);
});

test("once: exits 0 after a job that was done", async () => {
  peer = await startPeer({ source: await readFile(join(folder.path, "short.mp4")) });
  peer.enqueue("message-1", jobMessage());
  runner = startRunner(["--once"]);
  expect(await runner.exited).toBe(0);
  expect(peer.framesOf("uploaded").map((frame) => frame.quality)).toEqual(["360p"]);
  expect(runner.output()).toContain("job done");
});
