/** What a browser really does with a proxy of ten minutes: begin, and jump to 90 %, with few requests and few bytes. */
import { execFile } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdtemp, open, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { deliverRendition } from "../../bench/stand-in-runner.ts";
import { startThrottleProxy, type ThrottleProxy } from "../../bench/throttle-proxy.ts";
import { readStackFile } from "../../dev/stack-file.ts";
import { FRAGMENTED_MP4, mostFragments } from "../../gpu-runner/media/encode-command.ts";
import { moovReserveBytes, rewriteAsFaststart } from "../../gpu-runner/media/mp4/faststart.ts";
import { defaultLadder } from "../../schemas/ladder.ts";
import { Chromium, findChromium } from "./chromium.ts";
import { CountingProxy } from "./counting-proxy.ts";
import type { PipelineClient } from "./pipeline-client.ts";
import { StackProcess } from "./stack-process.ts";

const exec = promisify(execFile);
const quality = "540p";
const seconds = 600;
const loopSeconds = 10;
const reportTimeoutMs = 120_000;
/** Three times what the film needs. Without a line's limit, the sockets of this machine swallow more than is played. */
const lineBytesPerSecond = 625_000;
/** Nothing is placed by itself: the first viewer misses, and has it brought to R2. */
const policy = {
  ladder: { ...defaultLadder, rungs: defaultLadder.rungs.filter((rung) => rung.quality === quality) },
  placement: { edgeQualities: [], lucidlink: false },
};
const chromium = findChromium();

let folder: string;
let stack: StackProcess;
let client: PipelineClient;
let line: ThrottleProxy;
let proxy: CountingProxy;
let fileId: string;
let sizeBytes: number;

/** Ten minutes at the rate of a real 540p, of which only ten seconds have to be encoded, as the runner writes them. */
async function makeProxyFile(): Promise<string> {
  const [loop, stream, file] = [join(folder, "loop.mp4"), join(folder, "stream.mp4"), join(folder, "proxy.mp4")];
  const lavfi = (source: string) => ["-f", "lavfi", "-i", `${source}:duration=${loopSeconds}`];
  const quiet = ["-v", "error", "-nostdin", "-y"];
  const picture = "-c:v libx264 -preset ultrafast -b:v 1600k -minrate 1600k -maxrate 1600k -bufsize 3200k -g 48";
  await exec("ffmpeg", [
    ...[...quiet, ...lavfi("testsrc2=size=960x540:rate=24"), ...lavfi("sine=frequency=440:sample_rate=48000")],
    ...[
      ...picture.split(" "),
      "-x264-params",
      "nal-hrd=cbr",
      "-pix_fmt",
      "yuv420p",
      "-c:a",
      "aac",
      "-b:a",
      "128k",
      loop,
    ],
  ]);
  const again = `${seconds / loopSeconds - 1}`;
  await exec("ffmpeg", [...quiet, "-stream_loop", again, "-i", loop, "-c", "copy", ...FRAGMENTED_MP4, stream]);
  const partSizeBytes = 6 * 1024 * 1024;
  const expected = { frames: seconds * 24, durationSeconds: seconds, fragments: mostFragments(seconds, 2) };
  const handle = await open(file, "w");
  try {
    await rewriteAsFaststart(createReadStream(stream), {
      ...{ partSizeBytes, reserveBytes: moovReserveBytes(expected) },
      async emit({ n, bytes, release }) {
        await handle.write(bytes, 0, bytes.length, (n - 1) * partSizeBytes);
        release();
      },
    });
  } finally {
    await handle.close();
  }
  return file;
}

beforeAll(async () => {
  if (chromium === null) return;
  folder = await mkdtemp(join(tmpdir(), "mmf-playback-"));
  stack = await StackProcess.start({ policy, flags: ["--runners", "0", "--no-agent"] });
  client = await stack.client();
  const path = await makeProxyFile();
  sizeBytes = (await stat(path)).size;
  const facts = await readStackFile(stack.dataDirectory);
  if (facts === null) throw new Error("the stack has no stack.json");
  const file = await open(path);
  fileId = await deliverRendition(facts, {
    sizeBytes,
    signal: AbortSignal.timeout(120_000),
    onProgress: () => undefined,
    beforeReport: async () => undefined,
    async bytes(from, lengthBytes) {
      const bytes = Buffer.alloc(lengthBytes);
      await file.read(bytes, 0, lengthBytes, from);
      return bytes;
    },
  }).finally(() => file.close());
  await client.followTo(fileId, "evicted", 60_000);
  const targetPort = Number(new URL(facts.api).port);
  line = await startThrottleProxy({ port: 0, targetPort, bytesPerSecond: lineBytesPerSecond });
  proxy = await CountingProxy.start(`http://127.0.0.1:${line.port}`);
}, 300_000);

afterAll(async () => {
  proxy?.close();
  await line?.close();
  await stack?.destroy();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

const Report = z.object({ error: z.string().nullable(), duration: z.number(), at: z.number(), frames: z.number() });

/** Plays a second, jumps, and plays a second there. */
const pageOf = (url: string) => `<!doctype html><title>player</title>
<video id="video" muted preload="auto"></video>
<script type="module">
  const video = document.getElementById("video");
  const until = (done) => new Promise((resolve, reject) => {
    video.addEventListener("error", () => reject(new Error(video.error.message)), { once: true });
    const look = () => done() && (clearInterval(timer), resolve());
    const timer = setInterval(look, 50);
  });
  let error = null;
  try {
    video.src = ${JSON.stringify(url)};
    await video.play();
    await until(() => video.currentTime >= 1);
    const target = video.duration * 0.9;
    video.currentTime = target;
    await until(() => !video.seeking && video.currentTime >= target + 1);
    video.pause();
  } catch (thrown) {
    error = String(thrown);
  }
  const frames = video.getVideoPlaybackQuality().totalVideoFrames;
  const report = { error, duration: video.duration || 0, at: video.currentTime, frames };
  await fetch("/report", { method: "POST", body: JSON.stringify(report) });
</script>`;

async function play(): Promise<z.infer<typeof Report>> {
  const { pathname, search } = new URL(await client.playbackUrl(fileId, quality));
  const reporting = proxy.serve(pageOf(pathname + search));
  const browser = await Chromium.open(chromium ?? "", `${proxy.origin}/`);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const tell = () => reject(new Error(`no report; ${JSON.stringify(proxy.passed)}; ${browser.said}`));
    timer = setTimeout(tell, reportTimeoutMs);
  });
  try {
    return Report.parse(await Promise.race([reporting, late]));
  } finally {
    clearTimeout(timer);
    await browser.close();
  }
}

function expectThrift(report: z.infer<typeof Report>): void {
  expect(report.error).toBeNull();
  expect(report.duration).toBeCloseTo(seconds, 0);
  expect(report.at).toBeGreaterThanOrEqual(seconds * 0.9 + 1);
  expect(report.frames).toBeGreaterThan(24);
  const { passed } = proxy;
  const told = JSON.stringify({ sizeBytes, passed });
  expect(passed.map(({ status }) => status)).toEqual(passed.map(() => 206));
  expect(passed.length, told).toBeGreaterThan(1);
  expect(passed.length, told).toBeLessThanOrEqual(8);
  expect(
    passed.reduce((sum, { bytes }) => sum + bytes, 0),
    told,
  ).toBeLessThanOrEqual(sizeBytes * 0.05);
}

beforeEach(({ skip }) => skip(chromium === null, "no Chromium here; CHROMIUM_PATH may name one"));

test("Chromium plays ten minutes that R2 has not, and jumps to 90 %", async () => {
  const report = await play();
  expectThrift(report);
  expect(proxy.passed[0]?.servedFrom).toBe("wasabi");
});

test("Chromium plays ten minutes from R2, and jumps to 90 %", async () => {
  const isPlaced = (copy: { tier: string; status: string }) => copy.tier === "r2" && copy.status === "placed";
  await client.follow(fileId, ({ renditions }) => renditions.some(({ copies }) => copies.some(isPlaced)), 180_000);
  const report = await play();
  expectThrift(report);
  expect(proxy.passed.map(({ servedFrom }) => servedFrom)).toEqual(proxy.passed.map(() => "r2"));
});
