/** The runner's metrics, as families of samples. Pure. docs/gpu-runner.md lists them. */
import type { JobBoard, RunningJob } from "./job-board.ts";
import type { EncoderChoice } from "./media/encoder-probe.ts";
import type { MetricFamily, Sample } from "./prometheus-text.ts";

export type RunnerHealth = {
  runnerId: string;
  encoder: Pick<EncoderChoice, "kind" | "reason">;
  ffmpegVersion: string;
  board: Pick<JobBoard, "running" | "totals">;
  /** Why nothing is pulled, for now or for good; null while all is well. */
  stopped: string | null;
};

export type ProcessFacts = { residentBytes: number; cpuSeconds: number };

const each = (counts: Iterable<readonly [string, number]>, label: string): Sample[] =>
  [...counts].map(([name, value]) => ({ labels: { [label]: name }, value }));

export function runnerMetrics(health: RunnerHealth, facts: ProcessFacts): MetricFamily[] {
  const { runnerId, encoder, board, stopped, ffmpegVersion } = health;
  const running = board.running();
  const totals = board.totals();
  const held = running.filter(({ lease }) => lease !== null);
  const one = (value: number): Sample[] => [{ value }];
  const perJob = (jobs: readonly RunningJob[], read: (job: RunningJob) => number): Sample[] =>
    jobs.map((job) => ({ labels: { asset: job.fileId, job: job.jobId }, value: read(job) }));
  const family = (type: MetricFamily["type"]) => (name: string, help: string, samples: Sample[]) => ({
    name: `runner_${name}`,
    type,
    help,
    samples,
  });
  const gauge = family("gauge");
  const counter = family("counter");
  const info = { runner: runnerId, encoder: encoder.kind, because: encoder.reason, ffmpeg: ffmpegVersion };
  return [
    gauge("info", "Always 1; its labels say who this is, which encoder is in use and why.", [
      { labels: info, value: 1 },
    ]),
    gauge(
      "pulling",
      "1 while jobs are pulled, 0 while the store or the API refuses all, and once the runner has found itself unfit.",
      one(stopped === null ? 1 : 0),
    ),
    gauge("jobs_running", "Jobs under way.", one(running.length)),
    counter("jobs_total", "Jobs that ended, by how.", each(Object.entries(totals.outcomes), "outcome")),
    counter("failures_total", "Jobs that failed, by code.", each(totals.failuresByCode, "code")),
    gauge(
      "encode_fps",
      "Source frames a second, now.",
      perJob(running, ({ progress }) => progress?.fps ?? 0),
    ),
    gauge(
      "encode_speed",
      "Speed as a multiple of real time, now.",
      perJob(running, ({ progress }) => progress?.speed ?? 0),
    ),
    gauge(
      "encode_progress_ratio",
      "Share of the pictures that have come out, over all renditions.",
      perJob(running, ({ progress }) => (progress?.percent ?? 0) / 100),
    ),
    counter("source_bytes_total", "Bytes read from the store, retries included: its egress.", one(totals.sourceBytes)),
    counter("stored_bytes_total", "Bytes of parts that the store has taken.", one(totals.storedBytes)),
    counter("retries_total", "Requests to the store made again.", [
      { labels: { what: "source" }, value: totals.sourceRetries },
      { labels: { what: "part" }, value: totals.partRetries },
    ]),
    counter("source_urls_renewed_total", "Fresh addresses asked for because one was refused.", one(totals.freshUrls)),
    counter("ffmpeg_starts_total", "Encoding processes started.", one(totals.ffmpegStarts)),
    counter("ffmpeg_restarts_total", "Of these, all after a job's first.", one(totals.ffmpegRestarts)),
    gauge("leases_held", "Leases that this runner holds.", one(held.length)),
    gauge(
      "lease_renewal_age_seconds",
      "Time since the object last acknowledged a sign of life.",
      perJob(held, ({ lease }) => (lease?.sinceRenewalMs() ?? 0) / 1000),
    ),
    gauge(
      "lease_seconds",
      "What a lease lives without a sign of life.",
      perJob(held, ({ lease }) => (lease?.leaseMs ?? 0) / 1000),
    ),
    counter("leases_lost_total", "Jobs whose lease was lost, or taken back.", one(totals.outcomes.lost)),
    {
      name: "process_resident_memory_bytes",
      type: "gauge",
      help: "Resident memory of the Node process.",
      samples: one(facts.residentBytes),
    },
    {
      name: "process_cpu_seconds_total",
      type: "counter",
      help: "Processor time of the Node process, without ffmpeg.",
      samples: one(facts.cpuSeconds),
    },
  ];
}
