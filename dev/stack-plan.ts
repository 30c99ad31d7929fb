/**
 * What the local stack consists of: from options, ports and secrets to the plan of every child and to stack.json.
 * The one place that knows which setting each process takes.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { launchEnvironment } from "../gpu-runner/launch-environment.ts";
import { connectMapVariable } from "./connect-map.ts";
import { type LocalS3, localS3Endpoint, localS3Plan } from "./local-s3.ts";
import { localAccountId, pullApiUrl } from "./pull-queue.ts";
import type { Secrets } from "./secret.ts";
import { type FaultShape, faultFileOf, faultProxyConfig, linkPort } from "./stack-fault.ts";
import type { StackFile } from "./stack-file.ts";
import type { ChildPlan } from "./supervisor.ts";

export type PortName = "api" | "pull" | "wasabi" | "agent" | "appWebhook";
export type Ports = Record<PortName, number>;

export type StackShape = {
  dataDirectory: string;
  /** What stands for Wasabi. */
  s3: LocalS3;
  ports: Ports;
  secrets: Secrets;
  tokens: StackFile["tokens"];
  policy: Record<string, unknown> | null;
  /** One health port per gpu-runner. */
  runnerPorts: readonly number[];
  agent: boolean;
  /** null: no proxy stands between the processes, and nothing can be told to go wrong. */
  faults: FaultShape | null;
};

const region = "us-east-1";
const bucket = "wasabi-archive";
const transcodeQueue = "transcode";
const rushQueue = "transcode-rush";
const probeTimeoutMs = 2_000;

const fromRepository = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const origin = (port: number) => `http://127.0.0.1:${port}`;
const appWebhookUrl = (port: number) => `${origin(port)}/asset-events`;

export function stackFileOf(shape: StackShape, pids: Record<string, number>): StackFile {
  const { ports, secrets } = shape;
  return {
    api: origin(ports.api),
    wasabi: {
      endpoint: localS3Endpoint(shape.s3, ports.wasabi),
      bucket,
      region,
      accessKeyId: secrets.wasabiAccessKeyId,
      secretAccessKey: secrets.wasabiSecretAccessKey,
    },
    lucidlink: {
      url: origin(ports.agent),
      root: join(shape.dataDirectory, "lucidlink"),
      token: secrets.lucidAgentToken,
    },
    queues: { apiUrl: pullApiUrl(ports.pull), accountId: localAccountId, token: secrets.pullToken },
    webhookSecret: secrets.uploadWebhookSecret,
    appWebhook: {
      url: appWebhookUrl(ports.appWebhook),
      secret: secrets.appWebhookSecret,
      file: join(shape.dataDirectory, "app-webhook.jsonl"),
    },
    tokens: shape.tokens,
    ...(shape.policy === null ? {} : { policy: shape.policy }),
    ...(shape.faults === null ? {} : { faults: faultFileOf(shape.faults, origin(ports.api)) }),
    pids,
  };
}

/** The worker's settings and secrets, over what wrangler.toml says. */
export function workerBindings(shape: StackShape): Record<string, string> {
  const file = stackFileOf(shape, {});
  const { ports, faults } = shape;
  return {
    ENVIRONMENT: "local",
    PUBLIC_URL: file.api,
    WASABI_ENDPOINT: localS3Endpoint(shape.s3, linkPort(faults, "worker-wasabi", ports.wasabi)),
    WASABI_REGION: region,
    WASABI_BUCKET: bucket,
    WASABI_ACCESS_KEY_ID: file.wasabi.accessKeyId,
    WASABI_SECRET_ACCESS_KEY: file.wasabi.secretAccessKey,
    QUEUES_API_URL: pullApiUrl(linkPort(faults, "worker-pull", ports.pull)),
    CLOUDFLARE_ACCOUNT_ID: localAccountId,
    TRANSCODE_QUEUE_ID: transcodeQueue,
    TRANSCODE_RUSH_QUEUE_ID: rushQueue,
    QUEUES_TOKEN: shape.secrets.pullToken,
    LUCID_AGENT_URL: origin(linkPort(faults, "worker-agent", ports.agent)),
    LUCID_AGENT_TOKEN: shape.secrets.lucidAgentToken,
    LUCID_AGENT_CALLBACK_SECRET: shape.secrets.lucidAgentCallbackSecret,
    UPLOAD_WEBHOOK_SECRET: shape.secrets.uploadWebhookSecret,
    APP_WEBHOOK_URL: appWebhookUrl(linkPort(faults, "worker-app", ports.appWebhook)),
    APP_WEBHOOK_SECRET: shape.secrets.appWebhookSecret,
    JWT_KEYS: JSON.stringify(shape.secrets.jwtKeys),
    PLAYBACK_KEYS: JSON.stringify(shape.secrets.playbackKeys),
    POLICY: JSON.stringify(shape.policy ?? {}),
  };
}

async function answersOk(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(probeTimeoutMs) });
  await response.arrayBuffer();
  return response.ok;
}

/** In the order that they are stopped from the end: runners first, then those that they lean on. */
export function childPlans(shape: StackShape): ChildPlan[] {
  const file = stackFileOf(shape, {});
  const { ports, secrets } = shape;
  const logFile = (name: string) => join(shape.dataDirectory, "logs", `${name}.log`);

  const wasabi = localS3Plan(shape.s3, {
    dataDirectory: shape.dataDirectory,
    port: ports.wasabi,
    bucket,
    region,
    accessKeyId: secrets.wasabiAccessKeyId,
    secretAccessKey: secrets.wasabiSecretAccessKey,
    logFile: logFile("wasabi"),
  });

  const appWebhook: ChildPlan = {
    name: "app-webhook",
    entry: fromRepository("dev/app-webhook-process.ts"),
    config: { port: ports.appWebhook, secret: secrets.appWebhookSecret, file: file.appWebhook?.file },
    logFile: logFile("app-webhook"),
    isReady: () => answersOk(`${origin(ports.appWebhook)}/healthz`),
    readyTimeoutMs: 15_000,
  };

  const worker: ChildPlan = {
    name: "worker",
    entry: fromRepository("dev/worker-process.ts"),
    config: {
      configPath: fromRepository("wrangler.toml"),
      directory: join(shape.dataDirectory, "worker"),
      port: ports.api,
      bindings: workerBindings(shape),
      pull: {
        port: ports.pull,
        token: secrets.pullToken,
        queueNames: [transcodeQueue, rushQueue],
        maxRetries: 3,
      },
      faultToken: shape.faults?.token ?? null,
    },
    logFile: logFile("worker"),
    // Migrations come after the port opens, so an answer alone is not enough.
    isReady: async ({ messages }) => messages.includes("ready") && (await answersOk(`${file.api}/healthz`)),
    readyTimeoutMs: 60_000,
  };

  const agent: ChildPlan = {
    name: "lucid-agent",
    entry: fromRepository("lucid-agent/main.ts"),
    ...reachingThrough(shape, "agent"),
    env: {
      ...reachingThrough(shape, "agent").env,
      LUCID_AGENT_PORT: String(ports.agent),
      LUCID_AGENT_HOST: "127.0.0.1",
      LUCID_AGENT_ROOT: file.lucidlink.root,
      LUCID_AGENT_STATE_DIR: join(shape.dataDirectory, "lucid-agent"),
      LUCID_AGENT_TOKEN: secrets.lucidAgentToken,
      LUCID_AGENT_CALLBACK_URL: `${file.api}/v1/agent/callback`,
      LUCID_AGENT_CALLBACK_SECRET: secrets.lucidAgentCallbackSecret,
    },
    logFile: logFile("lucid-agent"),
    isReady: () => answersOk(`${file.lucidlink.url}/healthz`),
    readyTimeoutMs: 30_000,
  };

  const runners = shape.runnerPorts.map((healthPort, index): ChildPlan => {
    const name = shape.runnerPorts.length === 1 ? "gpu-runner" : `gpu-runner-${index + 1}`;
    return {
      name,
      entry: fromRepository("gpu-runner/main.ts"),
      ...reachingThrough(shape, "runner"),
      args: ["--poll-ms", "300", "--health-port", String(healthPort)],
      env: {
        ...reachingThrough(shape, "runner").env,
        ...launchEnvironment,
        MMF_API_URL: file.api,
        MMF_RUNNER_TOKEN: shape.tokens.runner,
        MMF_RUNNER_ID: `local-${index + 1}`,
      },
      logFile: logFile(name),
      isReady: () => answersOk(`${origin(healthPort)}/healthz`),
      readyTimeoutMs: 60_000,
    };
  });

  const faultProxy: ChildPlan[] =
    shape.faults === null
      ? []
      : [
          {
            name: "fault-proxy",
            entry: fromRepository("dev/fault-proxy-process.ts"),
            config: faultProxyConfig(shape.faults, ports),
            logFile: logFile("fault-proxy"),
            isReady: async ({ messages }) => messages.includes("ready"),
            readyTimeoutMs: 15_000,
          },
        ];

  return [...faultProxy, wasabi, appWebhook, worker, ...(shape.agent ? [agent] : []), ...runners];
}

/** The worker gives out addresses as it reaches them itself; each other process comes to them by links of its own. */
function reachingThrough({ faults, ports }: StackShape, process: "agent" | "runner") {
  if (faults === null) return { env: {} };
  const { links } = faults;
  const wasabi = links[`${process}-wasabi`];
  const map = {
    [ports.wasabi]: wasabi,
    [links["worker-wasabi"]]: wasabi,
    [ports.api]: links[`${process}-api`],
  };
  return {
    preload: [fromRepository("dev/connect-map.ts")],
    env: { [connectMapVariable]: JSON.stringify(map) },
  };
}
