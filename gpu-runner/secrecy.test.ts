/** What a runner at work shows to others on its machine: its children's command lines and environments, and its output. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { apiToken, jobMessage, type Peer, pullToken, startPeer } from "./job/testing/protocol-peer.ts";
import { makeTestFolder, runFfmpeg } from "./media/testing/ffmpeg-clip.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const secrets = [apiToken, pullToken, "source-signature", "part-signature", "X-Amz-Signature="];

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
let clip: Buffer;
let peer: Peer;
let child: ChildProcess;
let output = "";

beforeAll(async () => {
  folder = await makeTestFolder();
  const file = (name: string) => join(folder.path, name);
  const encoding = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p".split(" ");
  await runFfmpeg(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2", ...encoding, file("short.mp4")]);
  await runFfmpeg(["-stream_loop", "29", "-i", file("short.mp4"), "-c", "copy", file("long.mp4")]);
  clip = await readFile(file("long.mp4"));
});
afterAll(() => folder.remove());
afterEach(async () => {
  child.kill("SIGKILL");
  await peer.stop();
});

function startRunner(args: string[]): Promise<unknown> {
  output = "";
  child = spawn(process.execPath, [fileURLToPath(new URL("main.ts", import.meta.url)), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: process.env.PATH,
      TMPDIR: folder.path,
      MMF_API_URL: peer.url,
      MMF_RUNNER_TOKEN: apiToken,
      MMF_PULL_URL: peer.pullUrl,
      MMF_PULL_TOKEN: pullToken,
      FFMPEG_ENCODER: "x264",
    },
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  return once(child, "exit");
}

/** Command line and environment of every child of a process, as any process of the same user can read them. */
async function looksOfChildren(pid: number): Promise<{ name: string; shown: string }[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  const read = (file: string) => readFile(file, "utf8").catch(() => "");
  const own = await read(`/proc/${pid}/comm`);
  const pids = text.split(" ").filter((child) => child !== "");
  const looks = await Promise.all(
    pids.map(async (child) => ({
      shown: `${await read(`/proc/${child}/cmdline`)}\n${await read(`/proc/${child}/environ`)}`,
      name: await read(`/proc/${child}/comm`),
    })),
  );
  // Until it has become another program, a child is the runner itself.
  return looks.filter(({ name }) => name !== own);
}

test("no token and no presigned address is in what its children show, from the probe to the end, nor in its output", async () => {
  peer = await startPeer({ source: clip });
  peer.enqueue("message-1", jobMessage());
  const exited = startRunner(["--once", "--log-level", "trace"]);
  const seen = new Set<string>();
  const leaks: string[] = [];
  let running = true;
  void exited.then(() => {
    running = false;
  });
  while (running) {
    for (const { name, shown } of await looksOfChildren(child.pid ?? 0)) {
      if (shown.includes("127.0.0.1")) seen.add(name.trim());
      for (const secret of secrets) if (shown.includes(secret)) leaks.push(`${name.trim()} shows ${secret}`);
    }
    await sleep(10);
  }
  expect(leaks).toEqual([]);
  expect([...seen]).toContain("ffmpeg");
  expect(output).toContain("job done");
  // Told upwards, for the egress ledger.
  for (const frame of peer.framesOf("uploaded")) expect(frame.sourceBytes).toBeGreaterThanOrEqual(clip.length);
  for (const secret of secrets) expect(output).not.toContain(secret);
  expect((await readdir(folder.path)).filter((name) => name.startsWith("encode-"))).toEqual([]);
});

test("a source that is refused is told without its address", async () => {
  peer = await startPeer({
    source: clip,
    onPost: (path, _body, response) => {
      if (!path.endsWith("/source")) return false;
      response.writeHead(403, { "content-type": "application/json" }).end("{}");
      return true;
    },
    answer: ({ frame }) => {
      if (frame.type !== "claim") return undefined;
      const granted = peer.grantFor(frame.seq);
      if (granted.type !== "granted") return undefined;
      const source = { ...granted.source, url: granted.source.url.replace("/source?", "/nowhere?") };
      return { ...granted, source };
    },
  });
  peer.enqueue("message-1", jobMessage());
  await startRunner(["--once", "--log-level", "trace"]);
  expect(peer.framesOf("failed")).toHaveLength(1);
  const told = JSON.stringify(peer.framesOf("failed"));
  for (const secret of secrets) {
    expect(output).not.toContain(secret);
    expect(told).not.toContain(secret);
  }
});
