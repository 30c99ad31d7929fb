/** /healthz (503 once the runner has stopped pulling, with why) and /metrics (Prometheus text), for whoever runs it. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { prometheusText } from "./prometheus-text.ts";
import { type RunnerHealth, runnerMetrics } from "./runner-metrics.ts";

export type HealthServer = { port: number; close(): Promise<void> };

export async function startHealthServer(
  address: { port: number; host: string },
  read: () => RunnerHealth,
): Promise<HealthServer> {
  const server = createServer((request, response) => {
    const health = read();
    const path = request.url?.split("?")[0];
    if (request.method !== "GET" && request.method !== "HEAD") return response.writeHead(405).end();
    if (path === "/healthz") {
      const status = health.stopped === null ? 200 : 503;
      return response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(healthJson(health)));
    }
    if (path === "/metrics") {
      return response.writeHead(200, { "content-type": "text/plain; version=0.0.4" }).end(metricsText(health));
    }
    return response.writeHead(404).end();
  });
  server.requestTimeout = 5_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(address.port, address.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export function healthJson({ runnerId, encoder, ffmpegVersion, board, stopped }: RunnerHealth) {
  const jobs = board.running().map(({ fileId, jobId, progress, lease }) => ({
    fileId,
    jobId,
    percent: progress?.percent ?? null,
    fps: progress?.fps ?? null,
    speed: progress?.speed ?? null,
    etaSeconds: progress?.etaSeconds ?? null,
    lease: lease === null ? null : { leaseMs: lease.leaseMs, sinceRenewalMs: Math.round(lease.sinceRenewalMs()) },
  }));
  const { outcomes } = board.totals();
  return {
    runnerId,
    encoder: encoder.kind,
    because: encoder.reason,
    ffmpeg: ffmpegVersion,
    jobsRunning: jobs.length,
    jobs,
    stopped,
    outcomes,
  };
}

function metricsText(health: RunnerHealth): string {
  const { user, system } = process.cpuUsage();
  const facts = { residentBytes: process.memoryUsage.rss(), cpuSeconds: (user + system) / 1e6 };
  return prometheusText(runnerMetrics(health, facts));
}
