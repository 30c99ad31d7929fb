/** The runner by hand: at a terminal of `script`, which passes on what is typed. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test, vi } from "vitest";
import { apiToken, jobMessage, type Peer, startPeer } from "./job/testing/protocol-peer.ts";
import { makeTestFolder } from "./media/testing/ffmpeg-clip.ts";
import { loopedClip } from "./testing/runner-process.ts";

vi.setConfig({ testTimeout: 120_000 });

const entry = fileURLToPath(new URL("main.ts", import.meta.url));
const pauseKey = "\u0013";
const hasScript = process.platform === "linux" && spawnSync("script", ["--version"]).status === 0;

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
let peer: Peer;
let stop = () => {};
afterEach(async () => {
  stop();
  await peer?.stop();
  await folder?.remove();
});

test("a terminal that stands still holds up neither heartbeats nor the end", async ({ skip }) => {
  skip(!hasScript, "no util-linux `script` here");
  folder = await makeTestFolder();
  peer = await startPeer({ source: await loopedClip(folder.path, "640x360", 300), leaseMs: 1_500 });
  peer.enqueue("message-1", jobMessage());
  const terminal = spawn("script", ["-qfec", `exec '${process.execPath}' '${entry}'`, "/dev/null"], {
    stdio: ["pipe", "pipe", "ignore"],
    env: {
      PATH: process.env.PATH,
      SHELL: "/bin/sh",
      TMPDIR: folder.path,
      MMF_API_URL: peer.url,
      MMF_RUNNER_TOKEN: apiToken,
      FFMPEG_ENCODER: "x264",
    },
  });
  terminal.stdout.resume();
  const ended = once(terminal, "exit");
  await peer.until("frame:progress");
  const runner = Number(await readFile(`/proc/${terminal.pid}/task/${terminal.pid}/children`, "utf8"));
  stop = () => {
    terminal.kill("SIGKILL");
    process.kill(runner, "SIGKILL");
  };
  terminal.stdin.write(pauseKey);
  await sleep(600);
  const before = peer.framesOf("heartbeat").length;
  await expect.poll(() => peer.framesOf("heartbeat").length, { timeout: 60_000 }).toBeGreaterThan(before + 1);
  process.kill(runner, "SIGTERM");
  await peer.until("frame:release");
  stop = () => terminal.kill("SIGKILL");
  await ended;
});
