/**
 * Reads an original of an hour, encodes it into the whole ladder and uploads that, as a job does, and tells how much memory
 * it took: of this very process, so what plays ffmpeg and the store are others.
 * `node hour-of-renditions.ts FFMPEG STORE_URL SOCKET_FOLDER ORIGINAL_BYTES`; without arguments it is only compiled.
 */
import { readFile } from "node:fs/promises";
import pino from "pino";
import { defaultLadder } from "../../../schemas/ladder.ts";
import { planLadder } from "../../../schemas/plan-ladder.ts";
import { lasting, pictureOf, sourceProbe } from "../../../schemas/source-probe-sample.ts";
import { runEncode } from "../../media/encode-run.ts";
import { openSourceProxy } from "../../media/source-proxy.ts";
import { jobTiming } from "../job-timing.ts";
import { createPartUploader } from "../part-upload.ts";
// Not used here, but part of every runner's memory.
import "../run-job.ts";
import "../../health-server.ts";

const source = sourceProbe({ ...lasting(3600), ...pictureOf(3840, 2160), fps: { num: 60, den: 1 } });

const [ffmpegPath = "", storeUrl = "", socketFolder = "", originalBytes = ""] = process.argv.slice(2);
if (ffmpegPath === "") process.exit(0);
const dialect = { frameRateModeOption: "-fps_mode", bFrameReferences: true } as const;
const log = pino({ level: "silent" });
const { signal } = new AbortController();
const uploader = createPartUploader({
  grant: async (quality, _partSizeBytes, numbers) => ({
    parts: numbers.map((n) => ({ n, url: `${storeUrl}/${quality}/${n}` })),
    expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
  }),
  signal,
  ...jobTiming.parts,
  random: Math.random,
  nowMs: Date.now,
});
const plans = planLadder(source, defaultLadder);
const uploads = plans.map((plan) => uploader.open(plan.quality, plan.partSizeBytes));
const location = { url: `${storeUrl}/original`, sizeBytes: Number(originalBytes) };
const original = await openSourceProxy({ location, freshUrl: async () => location });
const { exitCode, renditions } = await runEncode({
  source,
  plans,
  sinks: uploads,
  encoder: { kind: "x264", dialect, reason: "none" },
  // What the pictures are does not matter: they are zeros.
  binaries: { ffmpegPath, ffprobePath: "true", version: "none", dialect, warnings: [] },
  sourceUrl: original.url,
  socketFolder,
  reading: original.reading,
  stallTimeoutMs: 120_000,
  onProgress: (progress) => log.info(progress),
  signal,
});
const files = renditions.map(({ made }) => ({ ...made?.file }));
const sent = await Promise.all(uploads.map((upload, i) => upload.finish(files[i]?.parts ?? 0)));
const sentBytes = sent.map(({ parts }) => parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
const peakKib = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile("/proc/self/status", "utf8"))?.[1];
const readBytes = original.counts().bytes;
process.stdout.write(JSON.stringify({ exitCode, peakBytes: Number(peakKib) * 1024, files, sentBytes, readBytes }));
process.exit(0);
