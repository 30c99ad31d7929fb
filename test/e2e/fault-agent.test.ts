/** Without lucid-agent an asset is archived, playable and says what it waits for; when the agent is back, it is placed. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "../../dev/eventually.ts";
import { isRunning, startAgain } from "../../dev/process-table.ts";
import { ClipFolder } from "./media-clip.ts";
import { decodingErrors } from "./media-file.ts";
import { type PipelineClient, proxyKeyOf } from "./pipeline-client.ts";
import { expectRest } from "./resting-stack.ts";
import { StackProcess } from "./stack-process.ts";

/** The promise: distributed within a minute of the agent's return. */
const promiseMs = 60_000;
const encodeTimeoutMs = 150_000;

let stack: StackProcess;
let clips: ClipFolder;
let client: PipelineClient;

beforeAll(async () => {
  // The supervisor would bring the agent back at once.
  [clips, stack] = await Promise.all([ClipFolder.make(), StackProcess.start({ flags: ["--no-restart"] })]);
  client = await stack.client();
});

afterAll(async () => {
  await stack?.destroy();
  await clips?.remove();
});

test("the agent stopped: playable and distributing; the agent back: distributed within a minute", async () => {
  const { pid, processes } = await stack.child("lucid-agent");
  const agent = processes.find((entry) => entry.pid === pid);
  if (agent === undefined) throw new Error("there is no lucid-agent");
  process.kill(pid, "SIGTERM");
  await eventually({ what: "the agent's end", timeoutMs: 15_000 }, () => !isRunning(pid));

  const { fileId } = await client.ingest(await clips.clip({ width: 960, height: 540, seconds: 2 }));
  const waiting = await client.follow(
    fileId,
    ({ state, problem, renditions }) =>
      state === "distributing" &&
      problem !== null &&
      renditions.every(({ copies }) => copies.every(({ tier, status }) => tier !== "r2" || status === "placed")),
    encodeTimeoutMs,
  );
  expect(waiting.problem).toMatchObject({ code: "LUCIDLINK_UNAVAILABLE", step: "lucidlink:540p", retryable: true });
  expect(Date.parse(waiting.problem?.nextAttemptAt ?? "")).toBeGreaterThan(Date.parse(waiting.problem?.since ?? ""));
  for (const quality of ["360p", "540p"]) {
    const url = await client.playbackUrl(fileId, quality);
    expect((await fetch(url, { method: "HEAD" })).headers.get("x-served-from"), quality).toBe("r2");
    expect(await decodingErrors(url), quality).toBe("");
  }
  expect(await client.lucidLinkFiles()).toEqual([]);
  const early = (await client.appCalls(fileId)).map(({ body }) => body.type);
  expect(early).not.toContain("asset.distributed");

  const back = startAgain(agent);
  try {
    const asset = await client.followTo(fileId, "distributed", promiseMs);
    expect(asset.problem).toBeNull();
    const [path = ""] = await client.lucidLinkFiles();
    expect(path).toBe(`Clients/acme/launch-film/${fileId}_540p.mp4`);
    const placed = await readFile(join(client.stack.lucidlink.root, path));
    expect(placed.equals(await client.getWasabi(proxyKeyOf(asset, "540p")))).toBe(true);
    await expectRest(stack, client, [fileId]);
  } finally {
    back.kill("SIGTERM");
    await eventually({ what: "the agent's end", timeoutMs: 15_000 }, () => !isRunning(back.pid ?? 0));
  }
  expect(await stack.stop()).toEqual([]);
});
