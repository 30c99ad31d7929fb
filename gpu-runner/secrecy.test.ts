/** What a runner at work shows to others on its machine: its children's command lines and environments, and its output. */
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { apiToken, jobMessage, type Peer, startPeer } from "./job/testing/protocol-peer.ts";
import { launchEnvironment } from "./launch-environment.ts";
import { makeTestFolder } from "./media/testing/ffmpeg-clip.ts";
import { childrenOf } from "./testing/child-process.ts";
import { loopedClip, startRunnerProcess } from "./testing/runner-process.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const secrets = [apiToken, "source-signature", "part-signature", "X-Amz-Signature="];

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
let clip: Buffer;
let peer: Peer;
let runner: ReturnType<typeof startRunnerProcess>;

beforeAll(async () => {
  folder = await makeTestFolder();
  clip = await loopedClip(folder.path, "320x180", 30);
});
afterAll(() => folder.remove());
afterEach(async () => {
  runner.child.kill("SIGKILL");
  await peer.stop();
});

const startTracing = () => startRunnerProcess(peer, folder.path, ["--once", "--log-level", "trace"], launchEnvironment);

/** Command line and environment of every child of a process, as any process of the same user can read them. */
async function looksOfChildren(pid: number): Promise<{ name: string; shown: string }[]> {
  const read = (file: string) => readFile(file, "utf8").catch(() => "");
  const own = (await read(`/proc/${pid}/comm`)).trim();
  const children = await childrenOf(pid);
  const looks = await Promise.all(
    children.map(async ({ pid: child, name }) => ({
      shown: `${await read(`/proc/${child}/cmdline`)}\n${await read(`/proc/${child}/environ`)}`,
      name,
    })),
  );
  // Until it has become another program, a child is the runner itself.
  return looks.filter(({ name }) => name !== own);
}

test("no token and no presigned address is in what its children show, from the probe to the end, nor in its output", async () => {
  peer = await startPeer({ source: clip });
  peer.enqueue("message-1", jobMessage());
  runner = startTracing();
  const seen = new Set<string>();
  const leaks: string[] = [];
  let running = true;
  void runner.exited.then(() => {
    running = false;
  });
  while (running) {
    for (const { name, shown } of await looksOfChildren(runner.child.pid ?? 0)) {
      if (shown.includes("127.0.0.1")) seen.add(name.trim());
      // The runner's own memory settings would slow an encoder down.
      for (const kept of [...secrets, "MALLOC_"]) if (shown.includes(kept)) leaks.push(`${name.trim()} shows ${kept}`);
    }
    await sleep(10);
  }
  expect(leaks).toEqual([]);
  expect([...seen]).toContain("ffmpeg");
  expect(runner.output()).toContain("job done");
  // Told upwards, for the egress ledger.
  for (const frame of peer.framesOf("uploaded")) expect(frame.sourceBytes).toBeGreaterThanOrEqual(clip.length);
  for (const secret of secrets) expect(runner.output()).not.toContain(secret);
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
  runner = startTracing();
  await runner.exited;
  expect(peer.framesOf("failed")).toHaveLength(1);
  const told = JSON.stringify(peer.framesOf("failed"));
  for (const secret of secrets) {
    expect(runner.output()).not.toContain(secret);
    expect(told).not.toContain(secret);
  }
});
