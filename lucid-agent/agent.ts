/** Puts the agent together from its settings: journal, engine, router, server. */
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { AgentConfig } from "./config.ts";
import type { CopySettings } from "./copy.ts";
import { lucidFilespace, lucidStatusCommand, plainFolder } from "./durability.ts";
import { Journal } from "./journal.ts";
import { createRouter } from "./router.ts";
import { createHttpServer } from "./server.ts";
import { type EngineSettings, TransferEngine } from "./transfer-engine.ts";
import { callbackPolicy } from "./webhook.ts";

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const fileSystemTimeoutMs = 10 * SECOND;

const copy: CopySettings = {
  timeouts: { answerMs: 30 * SECOND, idleMs: 30 * SECOND },
  maxTries: 6,
  backoff: { baseMs: 500, maxMs: 15 * SECOND },
};

const pace = {
  maxActive: 10_000,
  probeIntervalMs: 5 * SECOND,
  durableTimeoutMs: 24 * HOUR,
  keepEndedMs: 7 * 24 * HOUR,
  keepTemporaryMs: 24 * HOUR,
  pruneIntervalMs: HOUR,
  fileSystemTimeoutMs,
};

export interface Agent {
  url: string;
  stop(): Promise<void>;
}

export type Pace = Partial<Pick<EngineSettings, "copy" | "callback" | keyof typeof pace>>;

/** @param faster tests hurry what production does not */
export async function startAgent(config: AgentConfig, log: Logger, faster: Pace = {}): Promise<Agent> {
  const { root, mountPoint, minFreeBytes } = config;
  const tree = { root, mountPoint, minFreeBytes };
  const journal = await Journal.open(config.stateDir);
  const engine = new TransferEngine(
    {
      tree,
      copy,
      callback: callbackPolicy,
      callbackKey: config.callbackKey,
      concurrency: config.concurrency,
      ...pace,
      ...faster,
    },
    {
      journal,
      probe: config.probe.kind === "plain" ? plainFolder : lucidFilespace(lucidStatusCommand(config.probe)),
      log,
      nowMs: Date.now,
      random: Math.random,
      sleep: (ms, signal) => delay(ms, undefined, { signal }),
    },
  );
  const { token, callbackOrigin } = config;
  const router = createRouter({ token, tree, callbackOrigin, fileSystemTimeoutMs }, engine);
  const started = Promise.withResolvers<void>();
  const server = createHttpServer(async (request) => {
    await started.promise;
    return router(request);
  }, log);
  // The port first: a second agent by mistake fails here, before it touches the first one's transfers.
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(config.port, config.host, resolve);
  });
  await engine.start();
  started.resolve();
  const { address, port, family } = server.address() as AddressInfo;
  return {
    url: `http://${family === "IPv6" ? `[${address}]` : address}:${port}`,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      await engine.stop();
      server.closeAllConnections();
      await closed;
    },
  };
}
