/** The runner as a process of its own against a peer, and something for it to encode. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { apiToken, type Peer } from "../job/testing/protocol-peer.ts";
import { runFfmpeg } from "../media/testing/ffmpeg-clip.ts";

const entry = fileURLToPath(new URL("../main.ts", import.meta.url));

export function startRunnerProcess(
  peer: Peer,
  folder: string,
  args: readonly string[] = [],
  variables: Readonly<Record<string, string>> = {},
) {
  const child = spawn(process.execPath, [entry, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: {
      PATH: process.env.PATH,
      TMPDIR: folder,
      MMF_API_URL: peer.url,
      MMF_RUNNER_TOKEN: apiToken,
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

/** Two seconds, `short.mp4` in the folder, and as many times over. @returns the long one's bytes */
export async function loopedClip(folder: string, size: string, times: number): Promise<Buffer> {
  const [short, long] = [join(folder, "short.mp4"), join(folder, "long.mp4")];
  const encoding = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p".split(" ");
  await runFfmpeg(["-f", "lavfi", "-i", `testsrc2=size=${size}:rate=25:duration=2`, ...encoding, short]);
  await runFfmpeg(["-stream_loop", String(times - 1), "-i", short, "-c", "copy", long]);
  return await readFile(long);
}
