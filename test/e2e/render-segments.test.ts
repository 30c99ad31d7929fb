/** A render farm in one command: segments of an original from its byte ranges alone, frame for frame the whole file's. */
import { execFile } from "node:child_process";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { defaultLadder } from "../../schemas/ladder.ts";
import { ClipFolder } from "./media-clip.ts";
import type { PipelineClient } from "./pipeline-client.ts";
import { StackProcess } from "./stack-process.ts";

const script = fileURLToPath(new URL("../../dev/render-segments.ts", import.meta.url));
const policy = {
  ladder: { ...defaultLadder, rungs: defaultLadder.rungs.filter(({ quality }) => quality === "360p") },
  placement: { edgeQualities: ["360p"], lucidlink: false },
};
const seconds = 8;
const fps = 25;

let stack: StackProcess;
let client: PipelineClient;
let clips: ClipFolder;
let temporary: string;

beforeAll(async () => {
  [clips, stack] = await Promise.all([ClipFolder.make(), StackProcess.start({ policy, flags: ["--no-agent"] })]);
  client = await stack.client();
  temporary = join(clips.path, "tmp");
  await mkdir(temporary);
});

afterAll(async () => {
  await stack?.destroy();
  await clips?.remove();
});

/** Ends by what it leaves behind: nothing. */
async function render(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const command = [script, ...args, "--stack", join(stack.dataDirectory, "stack.json")];
  const env = { ...process.env, TMPDIR: temporary, NO_COLOR: "1" };
  const answer = await new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, command, { env, timeout: 120_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
  expect(await readdir(temporary)).toEqual([]);
  return answer;
}

interface Row {
  sharePercent: number;
  frames: number;
  verdict: string;
}

function rowsOf(stdout: string): Row[] {
  const rows = [...stdout.matchAll(/^ +\d+ +[\d.]+–[\d.]+ s +[\d.]+ \w+ +(\d+) % +(\d+) +(.+)$/gm)];
  return rows.map(([, share, frames, verdict = ""]) => ({
    sharePercent: Number(share),
    frames: Number(frames),
    verdict,
  }));
}

async function ingest(file: string, fileName: string): Promise<string> {
  const { fileId } = await client.ingest(file, { fileName });
  await client.followTo(fileId, "distributed", 120_000);
  return fileId;
}

test.each([
  ["its index at the end", "A001.mov", (clip: string) => Promise.resolve(clip)],
  ["its index at the beginning", "A002.mp4", (clip: string) => clips.faststart(clip)],
])("segments of an original with %s are the whole file's frames", async (_what, fileName, made) => {
  const fileId = await ingest(await made(await clips.clip({ width: 320, height: 180, seconds, grain: 20 })), fileName);
  const { code, stdout, stderr } = await render(fileId, "--segments", "4", "--verify");
  expect(stderr).toBe("");
  expect(code, stdout).toBe(0);
  const rows = rowsOf(stdout);
  expect(rows.map(({ verdict }) => verdict)).toEqual(["yes", "yes", "yes", "yes"]);
  expect(rows.reduce((sum, { frames }) => sum + frames, 0)).toBe(seconds * fps);
  for (const { sharePercent } of rows) expect(sharePercent).toBeLessThan(100);

  const apart = await render(fileId, "--segments", "2", "--from", "2", "--to", "4");
  expect(apart.code, apart.stderr).toBe(0);
  expect(rowsOf(apart.stdout).map(({ frames, verdict }) => [frames, verdict])).toEqual([
    [25, "not compared"],
    [25, "not compared"],
  ]);
});

test("an original that only can be read whole, and an asset that is not there, are told", async () => {
  const fileId = await ingest(await clips.matroska(await clips.clip({ width: 320, height: 180, seconds: 2 })), "B.mkv");
  const whole = await render(fileId);
  expect(whole).toMatchObject({ code: 1, stdout: "" });
  expect(whole.stderr).toContain("This original can only be read whole: it is neither MOV nor MP4.");

  const missing = await render("0".repeat(24));
  expect(missing).toMatchObject({ code: 1, stdout: "" });
  expect(missing.stderr).toContain("NOT_FOUND");
  expect(missing.stderr).not.toContain("    at ");
});
