/** /healthz (503 once the runner has stopped pulling, with why) and /metrics (Prometheus text), for whoever runs it. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { JobOutcome } from "./job/run-job.ts";

export type RunnerHealth = {
  runnerId: string;
  encoder: string;
  jobsRunning: number;
  /** Why nothing is pulled any more; null while all is well. */
  stopped: string | null;
  outcomes: Readonly<Record<JobOutcome["type"], number>>;
};

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
      return response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(health));
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

export function metricsText({ runnerId, jobsRunning, stopped, outcomes }: RunnerHealth): string {
  const runner = `runner="${runnerId}"`;
  return [
    "# TYPE runner_jobs_running gauge",
    `runner_jobs_running{${runner}} ${jobsRunning}`,
    "# TYPE runner_pulling gauge",
    `runner_pulling{${runner}} ${stopped === null ? 1 : 0}`,
    "# TYPE runner_jobs_total counter",
    ...Object.entries(outcomes).map(([outcome, n]) => `runner_jobs_total{${runner},outcome="${outcome}"} ${n}`),
    "",
  ].join("\n");
}
