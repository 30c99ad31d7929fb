/**
 * However long a source is, the runner's memory is small: an hour of all five renditions at once, 6.8 GB, through the
 * sockets, the rewriter and the uploads of a process of its own, while its original goes through the range proxy.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { chmod, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { launchEnvironment } from "../launch-environment.ts";
import { makeTestFolder, runFfmpeg } from "../media/testing/ffmpeg-clip.ts";

const smallMemory = fileURLToPath(new URL("../small-memory.ts", import.meta.url));
const runner = fileURLToPath(new URL("./testing/hour-of-renditions.ts", import.meta.url));
const encoder = fileURLToPath(new URL("../media/testing/hour-of-fragments.ts", import.meta.url));
const Report = z.object({
  exitCode: z.number(),
  peakBytes: z.number(),
  files: z.array(z.object({ sizeBytes: z.number(), frames: z.number(), durationSeconds: z.number() })),
  sentBytes: z.array(z.number()),
  readBytes: z.number(),
});
const originalBytes = 2_000_000_000;
const allowedBytes = 200 * 1024 * 1024;

let folder: Awaited<ReturnType<typeof makeTestFolder>>;
let store: Server;
let storedBytes = 0;

beforeAll(async () => {
  folder = await makeTestFolder();
  store = createServer((request, response) => {
    if (request.method === "GET") return answerRange(request, response);
    request.on("data", (chunk: Uint8Array) => {
      storedBytes += chunk.length;
    });
    request.once("end", () => response.writeHead(200, { etag: '"opaque"' }).end());
  });
  store.listen(0, "127.0.0.1");
  await once(store, "listening");
});
afterAll(async () => {
  store.closeAllConnections();
  store.close();
  await folder.remove();
});

/** Zeros: of the original's size, and nowhere but here. */
function answerRange(request: IncomingMessage, response: ServerResponse): void {
  const [, from = "", to = ""] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  const lengthBytes = Number(to) - Number(from) + 1;
  response.writeHead(206, {
    "content-range": `bytes ${from}-${to}/${originalBytes}`,
    "content-length": lengthBytes,
  });
  const zeros = Buffer.alloc(64 * 1024);
  const pieces = Math.ceil(lengthBytes / zeros.length);
  const body = Array.from({ length: pieces }, (_, i) => zeros.subarray(0, lengthBytes - i * zeros.length));
  Readable.from(body).pipe(response);
}

/** An ffmpeg that encodes nothing, and answers questions about itself as the real one does. */
async function writeEncoder(): Promise<string> {
  const clip = join(folder.path, "header.mp4");
  const picture = ["-f", "lavfi", "-i", "testsrc2=s=96x54:r=60:d=1", "-f", "lavfi", "-i", "sine=d=1:r=48000"];
  const codecs = ["-c:v", "libx264", "-threads", "1", "-pix_fmt", "yuv420p", "-c:a", "aac"];
  await runFfmpeg([...picture, ...codecs, "-movflags", "+frag_keyframe+delay_moov+default_base_moof", clip]);
  const path = join(folder.path, "encoder");
  const play = `exec '${process.execPath}' '${encoder}' '${clip}' "$@"`;
  await writeFile(path, `#!/bin/sh\ncase "$*" in *unix:*) ${play} ;; esac\nexec ffmpeg "$@"\n`);
  await chmod(path, 0o755);
  return path;
}

test("an hour of the whole ladder at once", { timeout: 600_000 }, async () => {
  const { port } = store.address() as AddressInfo;
  const storeUrl = `http://127.0.0.1:${port}`;
  const env = { ...process.env, ...launchEnvironment, NODE_COMPILE_CACHE: join(folder.path, "compiled") };
  const start = (...args: string[]) =>
    promisify(execFile)(process.execPath, ["--import", smallMemory, runner, ...args], { env, timeout: 590_000 });
  // Any start but the very first finds the compiled code of the one before.
  await start();
  const { stdout } = await start(await writeEncoder(), storeUrl, folder.path, String(originalBytes));
  const { exitCode, files, sentBytes, readBytes, peakBytes } = Report.parse(JSON.parse(stdout));
  expect(exitCode).toBe(0);
  expect(files.map(({ frames }) => frames)).toEqual(Array.from({ length: 5 }, () => 216_000));
  for (const { durationSeconds } of files) expect(durationSeconds).toBeCloseTo(3600, 0);
  expect(sentBytes).toEqual(files.map(({ sizeBytes }) => sizeBytes));
  expect(storedBytes).toBe(sentBytes.reduce((sum, bytes) => sum + bytes, 0));
  expect(storedBytes).toBeGreaterThan(6_000_000_000);
  expect(readBytes).toBe(originalBytes);
  expect(peakBytes).toBeLessThan(allowedBytes);
});
