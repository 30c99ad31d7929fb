/** For each test: a tree, an agent on it, a source, and a receiver of callbacks; nothing outlives the test. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach } from "vitest";
import type { PlaceRequest } from "../../schemas/agent-protocol.ts";
import { type Agent, type Pace, startAgent } from "../agent.ts";
import { readConfig } from "../config.ts";
import { createLog } from "../log.ts";
import { type Answer, ask, bytesOf, placeOf, token } from "./agent-client.ts";
import { type CallbackServer, callbackSecret, startCallbackServer } from "./callback-server.ts";
import { type OriginServer, startOrigin } from "./origin-server.ts";

export const bytes = bytesOf(300_000);
export const id = "0123456789abcdef01234567_1080p_1";
export const key = "Clients/acme/launch/0123456789abcdef01234567_1080p.mp4";

const hurried: Pace = {
  copy: { timeouts: { answerMs: 1_000, idleMs: 300 }, maxTries: 4, backoff: { baseMs: 5, maxMs: 20 } },
  callback: { baseMs: 10, maxMs: 50, maxTries: 8 },
  probeIntervalMs: 20,
};

export class AgentWorld {
  directory = "";
  root = "";
  logLines = "";
  origin!: OriginServer;
  receiver!: CallbackServer;
  agent!: Agent;

  async start(env: Record<string, string> = {}, pace: Pace = {}): Promise<void> {
    const config = readConfig([], {
      LUCID_AGENT_PORT: "0",
      LUCID_AGENT_ROOT: this.root,
      LUCID_AGENT_STATE_DIR: path.join(this.directory, "state"),
      LUCID_AGENT_MIN_FREE_BYTES: "0",
      LUCID_AGENT_TOKEN: token,
      LUCID_AGENT_CALLBACK_SECRET: callbackSecret,
      ...env,
    });
    if (config === null) throw new Error("no settings");
    const write = (line: string) => {
      this.logLines += line;
    };
    this.agent = await startAgent(config, createLog("debug", { write }), { ...hurried, ...pace });
  }

  async restart(env: Record<string, string> = {}, pace: Pace = {}): Promise<void> {
    await this.agent.stop();
    await this.start(env, pace);
  }

  place(more: Parameters<typeof placeOf>[3] = {}): PlaceRequest {
    return placeOf(bytes, this.origin.url, this.receiver.url, more);
  }

  ask(method: string, at: string, body?: unknown, bearer?: string | null): Promise<Answer> {
    return ask(this.agent.url, method, at, body, bearer);
  }

  put(body: unknown, transfer = id): Promise<Answer> {
    return this.ask("PUT", `/v1/transfers/${transfer}`, body);
  }
}

export function useAgentWorld(): AgentWorld {
  const world = new AgentWorld();
  beforeEach(async () => {
    world.directory = await mkdtemp(path.join(tmpdir(), "lucid-agent-"));
    world.root = path.join(world.directory, "tree");
    await mkdir(world.root);
    world.logLines = "";
    world.origin = await startOrigin(bytes);
    world.receiver = await startCallbackServer();
    await world.start();
  });
  afterEach(async () => {
    await world.agent.stop();
    await Promise.all([world.origin.stop(), world.receiver.stop()]);
    await rm(world.directory, { recursive: true });
  });
  return world;
}
