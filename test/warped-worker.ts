/**
 * A deployment whose clock of decisions a test moves, while everything that signs or is signed goes by the real one: real
 * objects, queues' consumers, D1, R2 and S3 in workerd. Messages wait in a list until the test lets consumers take them.
 */
import {
  createExecutionContext,
  createMessageBatch,
  createScheduledController,
  getQueueResult,
  runInDurableObject,
  waitOnExecutionContext,
} from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { vi } from "vitest";
import { type AssetDoor, assetDoor } from "../durable-objects/asset-door.ts";
import type { AssetObject } from "../durable-objects/asset-object.ts";
import type { Asset } from "../schemas/asset.ts";
import { handleApi } from "../workers/api/router.ts";
import { handleQueue } from "../workers/consumers/dispatch.ts";
import { handleScheduled } from "../workers/cron/schedule.ts";
import { handleDelivery } from "../workers/delivery/proxy.ts";
import { decisionNowMs } from "../workers/stores/clock.ts";
import type { Env } from "../workers/stores/config.ts";
import { origin } from "./door-worker.ts";
import { localWasabiConfig } from "./local-wasabi-worker.ts";

interface Sent {
  queue: string;
  body: { type: string; fileId: string };
}

/** As a runner needs it, and a test. */
export interface WarpedAsset {
  readonly door: AssetDoor;
  readonly stub: DurableObjectStub<AssetObject>;
  asset(): Promise<Asset>;
}

export class WarpedDeployment {
  readonly env: Env;
  /** What the application would have been told: `fileId event`. */
  readonly calls: string[] = [];
  #offsetMs = 0;
  readonly #waiting: Sent[] = [];
  readonly #stubs: DurableObjectStub<AssetObject>[] = [];

  constructor() {
    this.env = { ...(bindings as unknown as Env) };
    this.#bend(this.env);
  }

  /** No agent and no application: neither is what time is about. */
  #bend(env: object): void {
    const settings = { WASABI_ENDPOINT: localWasabiConfig().endpoint, LUCID_AGENT_URL: "", APP_WEBHOOK_URL: "" };
    for (const [name, value] of Object.entries(settings))
      Object.defineProperty(env, name, { value, configurable: true });
    Object.defineProperty(env, "CLOCK_OFFSET_MS", { get: () => String(this.#offsetMs), configurable: true });
    for (const queue of Object.keys(env).filter((name) => name.endsWith("_QUEUE"))) {
      const send = async (body: Sent["body"]) => {
        this.#waiting.push({ queue, body });
      };
      Object.defineProperty(env, queue, { value: { send }, configurable: true });
    }
  }

  nowMs(): number {
    return decisionNowMs(this.env);
  }

  advance(byMs: number): void {
    this.#offsetMs += byMs;
  }

  async open(fileId: string): Promise<WarpedAsset> {
    const door = assetDoor(this.env.ASSET, fileId);
    const stub = this.env.ASSET.getByName(fileId) as unknown as DurableObjectStub<AssetObject>;
    await runInDurableObject(stub, (instance) => this.#bend((instance as unknown as { env: object }).env));
    this.#stubs.push(stub);
    const asset = async () => {
      const present = await door.view();
      if (present === null) throw new Error("there is no asset");
      return present;
    };
    return { door, stub, asset };
  }

  /** The timer ticks. */
  async tick(): Promise<void> {
    const controller = createScheduledController({ scheduledTime: new Date(), cron: "* * * * *" });
    const ctx = createExecutionContext();
    await handleScheduled(controller, this.env, ctx);
    await waitOnExecutionContext(ctx);
  }

  /** Consumers take all that was sent, and all that comes of it. Transcode jobs wait for a runner. */
  async settle(): Promise<void> {
    for (;;) {
      await this.#sends();
      const index = this.#waiting.findIndex(({ queue }) => queue !== "TRANSCODE_QUEUE");
      const [message] = index < 0 ? [] : this.#waiting.splice(index, 1);
      if (message === undefined) return;
      await this.#take(message);
    }
  }

  async #take({ queue, body }: Sent): Promise<void> {
    if (body.type === "NotifyApp") this.calls.push(`${body.fileId} ${(body as unknown as { event: string }).event}`);
    const name = queue
      .replace(/_QUEUE$/, "")
      .replace("_", "-")
      .toLowerCase();
    const id = crypto.randomUUID();
    const batch = createMessageBatch(name, [{ id, timestamp: new Date(), attempts: 1, body }]);
    const ctx = createExecutionContext();
    await handleQueue(batch, this.env, ctx);
    const { explicitAcks } = await getQueueResult(batch, ctx);
    if (!explicitAcks.includes(id)) throw new Error(`${body.type} was not acked`);
  }

  /** What was decided has gone out. */
  async #sends(): Promise<void> {
    const unsent = (stub: DurableObjectStub<AssetObject>) =>
      runInDurableObject(stub, (_instance, state) => [...state.storage.sql.exec("SELECT id FROM outbox")].length);
    await vi.waitFor(
      async () => {
        for (const stub of this.#stubs) if ((await unsent(stub)) > 0) throw new Error("an outbox is not empty");
      },
      { timeout: 30_000, interval: 5 },
    );
  }

  async deliver(url: string): Promise<Response> {
    const ctx = createExecutionContext();
    const response = await handleDelivery(new Request(url), this.env, ctx);
    const bytes = await response.arrayBuffer();
    await waitOnExecutionContext(ctx);
    return new Response(bytes, response);
  }

  async call(path: string, token: string, json: unknown, method = "POST"): Promise<Response> {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const ctx = createExecutionContext();
    const request = new Request(new URL(path, origin), { method, headers, body: JSON.stringify(json) });
    const response = await handleApi(request, this.env, ctx);
    await waitOnExecutionContext(ctx);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response;
  }
}
