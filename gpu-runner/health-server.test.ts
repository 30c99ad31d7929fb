import { afterEach, expect, test } from "vitest";
import { type HealthServer, startHealthServer } from "./health-server.ts";
import { createJobBoard } from "./job-board.ts";
import { prometheusText } from "./prometheus-text.ts";
import type { RunnerHealth } from "./runner-metrics.ts";

let server: HealthServer;
afterEach(() => server.close());

async function start(changes: Partial<RunnerHealth> = {}) {
  const board = createJobBoard(() => 0);
  const health: RunnerHealth = {
    runnerId: "runner-1",
    encoder: { kind: "x264", reason: 'libx264 on the CPU: NVENC failed (said "no\\way"\nand more)' },
    ffmpegVersion: "7.1",
    board,
    stopped: null,
    ...changes,
  };
  server = await startHealthServer({ port: 0, host: "127.0.0.1" }, () => health);
  const get = (path: string, method = "GET") => fetch(`http://127.0.0.1:${server.port}${path}`, { method });
  return { board, get, metrics: async () => (await (await get("/metrics")).text()).split("\n") };
}

const progress = {
  percent: 25,
  fps: 120,
  speed: 4.8,
  etaSeconds: 30,
  renditions: [{ quality: "360p" as const, percent: 25, uploadedBytes: 1000 }],
};

test("a job shows while it runs, and counts for ever", async () => {
  const { board, metrics, get } = await start();
  const { watch, close } = board.open({ fileId: "file-1", jobId: "job-1" });
  watch.granted({ leaseMs: 30_000, sinceRenewalMs: () => 1500 });
  watch.progress(progress);
  watch.counts({ sourceBytes: 5000, sourceRetries: 2, freshUrls: 1, ffmpegRuns: 3 });
  watch.part({ type: "stored", sizeBytes: 700 });
  watch.part({ type: "stored", sizeBytes: 300 });
  watch.part({ type: "retried", code: "WASABI_UNAVAILABLE" });
  const during = await metrics();
  for (const line of [
    "runner_pulling 1",
    "runner_jobs_running 1",
    'runner_encode_fps{asset="file-1",job="job-1"} 120',
    'runner_encode_speed{asset="file-1",job="job-1"} 4.8',
    'runner_encode_progress_ratio{asset="file-1",job="job-1"} 0.25',
    "runner_leases_held 1",
    'runner_lease_renewal_age_seconds{asset="file-1",job="job-1"} 1.5',
    'runner_lease_seconds{asset="file-1",job="job-1"} 30',
  ]) {
    expect(during).toContain(line);
  }
  expect(await (await get("/healthz")).json()).toMatchObject({
    encoder: "x264",
    jobsRunning: 1,
    jobs: [{ fileId: "file-1", percent: 25, lease: { leaseMs: 30_000, sinceRenewalMs: 1500 } }],
  });

  close();
  close();
  board.ended({ type: "failed", code: "ENCODER_FAILED", message: "exit 1", retryable: true });
  board.ended({ type: "lost", reason: "stale", message: "another's" });
  const after = await metrics();
  for (const line of [
    "runner_jobs_running 0",
    "runner_leases_held 0",
    "runner_leases_lost_total 1",
    "runner_source_bytes_total 5000",
    "runner_stored_bytes_total 1000",
    'runner_retries_total{what="source"} 2',
    'runner_retries_total{what="part"} 1',
    "runner_source_urls_renewed_total 1",
    "runner_ffmpeg_starts_total 3",
    "runner_ffmpeg_restarts_total 2",
    'runner_jobs_total{outcome="failed"} 1',
    'runner_failures_total{code="ENCODER_FAILED"} 1',
  ]) {
    expect(after).toContain(line);
  }
  expect(after.join("\n")).not.toContain('asset="file-1"');
});

test("every family is described and typed before its samples, and every line is well-formed", async () => {
  const { metrics } = await start();
  const lines = await metrics();
  let family = "";
  for (const line of lines.filter((text) => text !== "")) {
    const header = /^# (HELP|TYPE) (\w+) (.+)$/.exec(line);
    if (header?.[1] === "HELP") family = header[2] ?? "";
    else if (header) expect([header[2], /^(counter|gauge)$/.test(header[3] ?? "")]).toEqual([family, true]);
    else expect(line).toMatch(new RegExp(`^${family}(\\{(\\w+="(\\\\.|[^"\\\\])*",?)+\\})? -?[0-9.e+-]+$`));
  }
  expect(lines).toContain(
    'runner_info{runner="runner-1",encoder="x264",because="libx264 on the CPU: NVENC failed (said \\"no\\\\way\\"\\nand more)",ffmpeg="7.1"} 1',
  );
  expect(lines.at(-1)).toBe("");
});

test("once it is unfit, health says 503 and why", async () => {
  const { get, metrics } = await start({ stopped: "failed 3 different assets in a row" });
  const health = await get("/healthz");
  expect(health.status).toBe(503);
  expect(await health.json()).toMatchObject({ stopped: "failed 3 different assets in a row" });
  expect(await metrics()).toContain("runner_pulling 0");
  expect((await get("/metrics", "POST")).status).toBe(405);
  expect((await get("/else")).status).toBe(404);
});

test("numbers that are none are spelled as Prometheus reads them", () => {
  const samples = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e21].map((value) => ({ value }));
  const text = prometheusText([{ name: "x", type: "gauge", help: "a\\b\nc", samples }]);
  expect(text).toBe("# HELP x a\\\\b\\nc\n# TYPE x gauge\nx NaN\nx +Inf\nx -Inf\nx 1e+21\n");
});
