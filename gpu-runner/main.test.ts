/** The runner as a process of its own, with the real ffmpeg, against a peer that follows the protocol. */
import type { ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, readFile, readlink, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { refusalsInARow } from "./job/runner-loop.ts";
import { apiToken, jobMessage, type Peer, pullPath, startPeer } from "./job/testing/protocol-peer.ts";
import { makeTestFolder } from "./media/testing/ffmpeg-clip.ts";
import { childrenOf } from "./testing/child-process.ts";
import { loopedClip, startRunnerProcess } from "./testing/runner-process.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
let clip: Buffer;
let peer: Peer;
let runner: ReturnType<typeof startRunnerProcess>;

beforeAll(async () => {
  folder = await makeTestFolder();
  clip = await loopedClip(folder.path, "640x360", 300);
});
afterAll(() => folder.remove());
afterEach(async () => {
  runner.child.kill("SIGKILL");
  await peer.stop();
});

const startRunner = (args: string[] = [], variables: Record<string, string> = {}) =>
  startRunnerProcess(peer, folder.path, args, variables);

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(20);
}

/** The runner's own children, by name. */
async function childrenNamed(child: ChildProcess, name: string): Promise<number[]> {
  return (await childrenOf(child.pid)).filter((each) => each.name === name).map(({ pid }) => pid);
}

async function startEncoding(variables: Record<string, string> = {}): Promise<number> {
  peer = await startPeer({ source: clip });
  peer.enqueue("message-1", jobMessage());
  runner = startRunner([], variables);
  await peer.until("frame:progress");
  const [ffmpeg] = await childrenNamed(runner.child, "ffmpeg");
  if (ffmpeg === undefined) throw new Error(`no ffmpeg runs: ${runner.output()}`);
  return ffmpeg;
}

/** An ffmpeg that does this instead of encoding. */
async function ffmpegThat(does: string): Promise<string> {
  const file = join(folder.path, `ffmpeg-${createHash("sha256").update(does).digest("hex").slice(0, 8)}.sh`);
  const script = ["#!/bin/sh", `case "$*" in *filter_complex*) ${does};; esac`, 'exec ffmpeg "$@"', ""];
  await writeFile(file, script.join("\n"), { mode: 0o755 });
  return file;
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
  for (const secret of [apiToken, "source-signature", "part-signature", "X-Amz"]) {
    expect(log).not.toContain(secret);
    expect(commandLine).not.toContain(secret);
  }
});

test("a terminal that is closed gives the job back, too", async () => {
  const ffmpeg = await startEncoding();
  runner.child.kill("SIGHUP");
  expect(await runner.exited).toBe(0);
  expect(isAlive(ffmpeg)).toBe(false);
  expect(peer.framesOf("release")).toHaveLength(1);
  expect(await socketFolders()).toEqual([]);
});

test("SIGTERM ends it in time even if the API has fallen silent", async () => {
  const ffmpeg = await startEncoding();
  for (const { socket } of peer.frames) socket.pause();
  runner.child.kill("SIGTERM");
  const ended = await Promise.race([runner.exited, sleep(30_000, "still running", { ref: false })]);
  expect(ended).toBe(0);
  expect(isAlive(ffmpeg)).toBe(false);
});

describe("killed by force, it leaves no process behind", () => {
  /** Answers nothing from the call of `begin` on. */
  function hold() {
    let holding = false;
    let held = 0;
    return {
      begin: () => {
        holding = true;
      },
      take: () => {
        if (holding) held++;
        return holding;
      },
      held: () => held,
    };
  }

  async function expectGoneWithIt(name: string): Promise<void> {
    await until(async () => (await childrenNamed(runner.child, name)).length > 0);
    const children = await childrenNamed(runner.child, name);
    runner.child.kill("SIGKILL");
    expect(await runner.exited).toBe("SIGKILL");
    await until(() => !children.some(isAlive));
  }

  test("while it encodes", async () => {
    await startEncoding();
    await expectGoneWithIt("ffmpeg");
  });

  test("while it probes a source that gives nothing", async () => {
    const source = hold();
    source.begin();
    peer = await startPeer({ source: clip, onSource: source.take });
    peer.enqueue("message-1", jobMessage());
    runner = startRunner();
    await until(() => source.held() > 0);
    await expectGoneWithIt("ffprobe");
  });

  test("while its ffmpeg waits for the source", async () => {
    const source = hold();
    // Long enough that the original is still being read when the first progress is told.
    peer = await startPeer({ source: clip, onSource: source.take });
    peer.enqueue("message-1", jobMessage());
    runner = startRunner();
    await peer.until("frame:probed");
    source.begin();
    await until(() => source.held() > 0);
    await expectGoneWithIt("ffmpeg");
  });

  test("while its ffmpeg waits for a store that takes nothing", async () => {
    const store = hold();
    store.begin();
    peer = await startPeer({ source: clip, onPut: store.take });
    peer.enqueue("message-1", jobMessage());
    runner = startRunner();
    await until(() => store.held() > 0);
    await expectGoneWithIt("ffmpeg");
  });

  test("while its ffmpeg hangs, and neither reads nor writes", async () => {
    const hanging = await ffmpegThat("exec sleep 600");
    peer = await startPeer({ source: clip });
    peer.enqueue("message-1", jobMessage());
    runner = startRunner([], { FFMPEG_PATH: hanging });
    await expectGoneWithIt("sleep");
  });

  test("while the last part is on its way, of a job whose ffmpeg has ended", async () => {
    const source = await readFile(join(folder.path, "short.mp4"));
    let last = false;
    peer = await startPeer({
      source,
      onPut: (_request, _response, { n }) => {
        last ||= n === 1;
        return n === 1;
      },
    });
    peer.enqueue("message-1", jobMessage());
    runner = startRunner();
    await until(() => last);
    const children = await childrenNamed(runner.child, "ffmpeg");
    runner.child.kill("SIGKILL");
    await runner.exited;
    await until(() => !children.some(isAlive));
    expect(peer.framesOf("uploaded")).toEqual([]);
  });

  test("and the next start sweeps its folder of sockets", async () => {
    await startEncoding();
    expect(await socketFolders()).toHaveLength(1);
    runner.child.kill("SIGKILL");
    await runner.exited;
    runner = startRunner();
    await until(() => runner.output().includes("runner ready"));
    expect(await socketFolders()).toEqual([]);
  });
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

describe("with an ffmpeg that fails", () => {
  const broken = () => ffmpegThat('echo "the card fell off the bus" >&2; exit 1');
  const failedFiles = () => peer.framesOf("failed").length;

  test("it stops pulling after three different assets, says why, and stays up until it is told to end", async () => {
    peer = await startPeer({ source: await readFile(join(folder.path, "short.mp4")) });
    for (let n = 1; n <= 4; n++) peer.enqueue(`message-${n}`, jobMessage(n));
    runner = startRunner(["--health-port", "0"], { FFMPEG_PATH: await broken() });
    await until(() => runner.output().includes("has stopped pulling jobs"));
    expect(peer.framesOf("failed")).toMatchObject(Array(3).fill({ code: "ENCODER_FAILED", retryable: true }));
    expect(peer.journal.filter((entry) => entry === "pull")).toHaveLength(3);
    const port = /"healthPort":(\d+)/.exec(runner.output())?.[1];
    const health = await fetch(`http://127.0.0.1:${port}/healthz`);
    expect(health.status).toBe(503);
    expect(await health.text()).toContain("the card fell off the bus");
    expect(await socketFolders()).toEqual([]);
    runner.child.kill("SIGTERM");
    expect(await runner.exited).toBe(1);
  });

  test("one asset, however often, does not make it unfit; a draining one exits with 0", async () => {
    peer = await startPeer({ source: await readFile(join(folder.path, "short.mp4")) });
    for (let n = 1; n <= 4; n++) peer.enqueue(`message-${n}`, jobMessage(1));
    runner = startRunner(["--drain"], { FFMPEG_PATH: await broken() });
    expect(await runner.exited).toBe(0);
    expect(failedFiles()).toBe(4);
  });
});

test("SIGUSR2 lets the running job end, pulls no more, and ends well", async () => {
  const source = await readFile(join(folder.path, "short.mp4"));
  let told = false;
  peer = await startPeer({
    source,
    // In the middle of the job, wherever that is on this machine.
    onPut: () => {
      if (!told) runner.child.kill("SIGUSR2");
      told = true;
      return false;
    },
  });
  for (let n = 1; n <= 2; n++) peer.enqueue(`message-${n}`, jobMessage(n));
  runner = startRunner();
  expect(await runner.exited).toBe(0);
  expect(peer.framesOf("uploaded")).toHaveLength(1);
  expect(peer.framesOf("release")).toEqual([]);
  expect(peer.journal.filter((entry) => entry.startsWith("ack"))).toEqual(["ack:message-1"]);
});

test("bad settings are named, and end it with 2", async () => {
  peer = await startPeer();
  runner = startRunner(["--concurrency", "0"], { MMF_API_URL: "nonsense" });
  expect(await runner.exited).toBe(2);
  expect(runner.output()).toMatch(/--concurrency/);
  expect(runner.output()).toMatch(/MMF_API_URL/);
});

/** Answers the first `times` pulls with a problem. */
const refusingPulls = (times: number, status: number, problem: object) => {
  let pulls = 0;
  return (path: string, _body: unknown, response: ServerResponse) => {
    if (path !== pullPath || ++pulls > times) return false;
    response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
    return true;
  };
};

test("drain: an API that goes on refusing it ends it with 1, and the log says why", async () => {
  const problem = { code: "FORBIDDEN", detail: "This needs a token of role runner; yours is viewer." };
  peer = await startPeer({ onPost: refusingPulls(Number.POSITIVE_INFINITY, 403, problem) });
  runner = startRunner(["--drain"]);
  expect(await runner.exited).toBe(1);
  expect(runner.output()).toContain("the API refused to pull: HTTP 403 (This needs a token of role runner");
  expect(runner.output()).toContain("the API goes on refusing this runner");
});

test("a worker older than the runner is named, on /healthz too; once it is deployed the runner goes on by itself", async () => {
  const problem = { code: "NOT_FOUND", detail: "There is no such address. See /openapi.json." };
  peer = await startPeer({
    source: await readFile(join(folder.path, "short.mp4")),
    onPost: refusingPulls(refusalsInARow, 404, problem),
  });
  peer.enqueue("message-1", jobMessage());
  runner = startRunner(["--health-port", "0"], { MMF_PULL_TOKEN: "left-over-token" });
  await until(() => runner.output().includes("healthPort"));
  const port = /"healthPort":(\d+)/.exec(runner.output())?.[1];
  const health = async () => {
    const response = await fetch(`http://127.0.0.1:${port}/healthz`);
    return { status: response.status, text: await response.text() };
  };
  await until(async () => (await health()).status === 503);
  expect((await health()).text).toContain("the worker is older than this runner: deploy the worker first");
  expect(runner.output()).toContain("the worker is older than this runner: deploy the worker first");
  expect(runner.output()).toContain("MMF_PULL_TOKEN is no longer used");
  expect(runner.output()).not.toContain("left-over-token");
  await peer.until("frame:uploaded");
  expect((await health()).status).toBe(200);
});

test("once: exits 0 after a job that was done", async () => {
  peer = await startPeer({ source: await readFile(join(folder.path, "short.mp4")) });
  peer.enqueue("message-1", jobMessage());
  runner = startRunner(["--once"]);
  expect(await runner.exited).toBe(0);
  expect(peer.framesOf("uploaded").map((frame) => frame.quality)).toEqual(["360p"]);
  expect(runner.output()).toContain("job done");
});
