/**
 * One file's way through the real worker, in fast motion: its object, its queues' consumers, a real S3 and a real R2. The
 * network between them is the test's: an origin that it scripts, and a Wasabi that it may break. Nothing here knows how the
 * work is cut into messages.
 */
import {
  createExecutionContext,
  createMessageBatch,
  getQueueResult,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { onTestFinished, vi } from "vitest";
import { type AssetDoor, assetDoor } from "../durable-objects/asset-door.ts";
import type { AssetObject } from "../durable-objects/asset-object.ts";
import type { Asset, HistoryEntry } from "../schemas/asset.ts";
import type { AssetEvent, UploadDeclaration } from "../schemas/event.ts";
import { handleQueue } from "../workers/consumers/dispatch.ts";
import type { Env } from "../workers/stores/config.ts";
import { wasabiStore } from "../workers/stores/wasabi.ts";
import { localWasabiConfig } from "./local-wasabi-worker.ts";

export interface Asked {
  method: string;
  url: URL;
  headers: Headers;
}

/** @returns null to let the request through; `n` counts from 1 */
export type Interceptor = (asked: Asked, n: number) => Response | null | Promise<Response | null>;

const wasabiConfig = localWasabiConfig();
const wasabiOrigin = new URL(wasabiConfig.endpoint).origin;
export const wasabi = wasabiStore(wasabiConfig);
export const originHost = "origin.example.com";

/** What its storage consumers take; runners and the application are not there unless a test plays them. */
const consumed = new Set(["URGENT_QUEUE", "ARCHIVE_QUEUE", "INGEST_QUEUE", "R2_QUEUE", "LUCIDLINK_QUEUE"]);
const mostRounds = 200;

interface Sent {
  queue: string;
  body: { type: string; fileId: string };
}

export class Pipeline {
  readonly fileId: string;
  readonly door: AssetDoor;
  readonly stub: DurableObjectStub<AssetObject>;
  /** Uploads that were created in Wasabi and neither completed nor aborted. */
  readonly openUploads = new Set<string>();
  /** Hosts that nobody was scripted for, and that were asked all the same. */
  readonly strangers: string[] = [];
  /** Storage commands in the order in which consumers took them. */
  readonly taken: string[] = [];
  origin: Interceptor = () => new Response(null, { status: 404 });
  agent: Interceptor = () => new Response(null, { status: 503 });
  breakWasabi: Interceptor = () => null;
  /** Messages that the queue forgot. */
  readonly lost: string[] = [];
  #toLose: string | null = null;
  readonly #waiting: Sent[] = [];
  readonly #asked = { origin: 0, agent: 0, wasabi: 0 };
  readonly #env: Env;

  /** @param policy what the consumers have of it; the object has the default one */
  constructor(fileId: string, policy: Record<string, unknown>) {
    this.fileId = fileId;
    const env = bindings as unknown as Env;
    this.#env = { ...env, WASABI_ENDPOINT: wasabiConfig.endpoint, POLICY: JSON.stringify(policy) };
    this.door = assetDoor(this.#env.ASSET, fileId);
    this.stub = this.#env.ASSET.getByName(fileId) as unknown as DurableObjectStub<AssetObject>;
  }

  async open(): Promise<void> {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    const real = globalThis.fetch;
    const spy = vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
      const { method, url, headers } = new Request(input as RequestInfo, { ...(init as RequestInit), body: null });
      return this.#answer({ method, url: new URL(url), headers }, () => real(input, init));
    });
    onTestFinished(() => {
      spy.mockRestore();
      vi.useRealTimers();
    });
    await runInDurableObject(this.stub, (instance) => {
      const { env } = instance as unknown as { env: Record<string, unknown> };
      for (const queue of Object.keys(env).filter((name) => name.endsWith("_QUEUE"))) {
        const send = async (body: Sent["body"]) => {
          this.#waiting.push({ queue, body });
        };
        Object.defineProperty(env, queue, { value: { send, sendBatch: undefined }, configurable: true });
        Object.defineProperty(this.#env, queue, { value: { send, sendBatch: undefined }, configurable: true });
      }
    });
  }

  async #answer(asked: Asked, pass: () => Promise<Response>): Promise<Response> {
    const { url } = asked;
    if (url.host === originHost) {
      this.#asked.origin += 1;
      return (await this.origin(asked, this.#asked.origin)) ?? Response.error();
    }
    if (url.host === "lucid-agent.test") {
      this.#asked.agent += 1;
      return (await this.agent(asked, this.#asked.agent)) ?? Response.error();
    }
    if (url.origin !== wasabiOrigin) {
      this.strangers.push(url.host);
      throw new TypeError(`nobody answers at ${url.host}`);
    }
    this.#asked.wasabi += 1;
    const response = (await this.breakWasabi(asked, this.#asked.wasabi)) ?? (await pass());
    await this.#follow(asked, response);
    return response;
  }

  async #follow({ method, url }: Asked, response: Response): Promise<void> {
    if (!response.ok) return;
    const uploadId = url.searchParams.get("uploadId");
    if (method === "POST" && url.searchParams.has("uploads")) {
      const created = /<UploadId>([^<]+)</.exec(await response.clone().text())?.[1];
      if (created !== undefined) this.openUploads.add(created);
    } else if ((method === "DELETE" || method === "POST") && uploadId !== null) this.openUploads.delete(uploadId);
  }

  async tell(event: AssetEvent): Promise<void> {
    await this.door.apply({ key: null, by: "test", event });
    await this.#sends();
  }

  notice(upload: UploadDeclaration): Promise<void> {
    return this.tell({ type: "UploadNoticed", upload });
  }

  async asset(): Promise<Asset> {
    const asset = await this.door.view();
    if (asset === null) throw new Error("there is no asset");
    return asset;
  }

  async events(type: string): Promise<HistoryEntry[]> {
    return (await this.door.history(null, 1_000)).filter(({ event }) => event === type);
  }

  /** Lets consumers take what was sent and deadlines pass, until the asset is as wished. @returns it */
  async drive(until: (asset: Asset) => boolean): Promise<Asset> {
    for (let round = 0; round < mostRounds; round += 1) {
      const asset = await this.asset();
      if (until(asset)) return asset;
      if (!(await this.takeOne())) await this.pass();
    }
    throw new Error(`not there after ${mostRounds} rounds: ${JSON.stringify(await this.asset())}`);
  }

  /** Consumers take everything that was sent; no deadline passes. */
  async takeAll(): Promise<Asset> {
    while (await this.takeOne());
    return this.asset();
  }

  /** @returns false when nothing waits */
  async takeOne(): Promise<boolean> {
    await this.#sends();
    const index = this.#waiting.findIndex(({ queue, body }) => consumed.has(queue) && body.fileId === this.fileId);
    const [message] = index < 0 ? [] : this.#waiting.splice(index, 1);
    if (message === undefined) return false;
    const { queue, body } = message;
    if (body.type === this.#toLose) {
      this.#toLose = null;
      this.lost.push(body.type);
      return true;
    }
    this.taken.push(body.type);
    const name = queue.replace(/_QUEUE$/, "").toLowerCase();
    const id = crypto.randomUUID();
    const batch = createMessageBatch(name, [{ id, timestamp: new Date(), attempts: 1, body }]);
    const ctx = createExecutionContext();
    await handleQueue(batch, this.#env, ctx);
    const { explicitAcks } = await getQueueResult(batch, ctx);
    if (!explicitAcks.includes(id)) throw new Error(`${body.type} was not acked`);
    await this.#sends();
    return true;
  }

  /** Messages of this kind that nobody has taken. */
  waiting(type: string): Readonly<Record<string, unknown>>[] {
    return this.#waiting.flatMap(({ body }) =>
      body.type === type && body.fileId === this.fileId ? [{ ...body }] : [],
    );
  }

  /** The queue forgets the first message of this kind, also if it has been sent already. */
  lose(type: string): void {
    this.#toLose = type;
  }

  /** The next deadline of the object is reached. */
  async pass(): Promise<void> {
    const [row] = await this.rows("SELECT min(at_ms) AS at_ms FROM timer");
    if (typeof row?.at_ms !== "number") throw new Error(`nothing is awaited: ${JSON.stringify(await this.asset())}`);
    vi.setSystemTime(Math.max(Date.now(), row.at_ms));
    await runDurableObjectAlarm(this.stub);
    await this.#sends();
  }

  rows(sql: string): Promise<Record<string, unknown>[]> {
    return runInDurableObject(this.stub, (_instance, state) => [...state.storage.sql.exec(sql)]);
  }

  /** What was decided has gone out; what waits for a key or a backoff stays. */
  async #sends(): Promise<void> {
    await vi.waitFor(
      async () => {
        const due = await this.rows(`SELECT id FROM outbox WHERE next_at_ms <= ${Date.now()}`);
        if (due.length > 0) throw new Error("the outbox is not empty");
      },
      { timeout: 5_000, interval: 5 },
    );
  }
}

export async function openPipeline(fileId: string, policy: Record<string, unknown> = {}): Promise<Pipeline> {
  const pipeline = new Pipeline(fileId, policy);
  await pipeline.open();
  return pipeline;
}

export interface Served {
  bytes: Uint8Array<ArrayBuffer>;
  /** With its quotes. */
  etag: string;
}

/** An origin as it should be: ranges, If-Match, an ETag. */
export function serve({ bytes, etag }: Served, { headers }: Pick<Asked, "headers">): Response {
  const common = { etag, "content-type": "video/quicktime", "accept-ranges": "bytes" };
  const condition = headers.get("if-match");
  if (condition !== null && condition !== etag) return new Response(null, { status: 412, headers: common });
  const range = /^bytes=(\d+)-(\d*)$/.exec(headers.get("range") ?? "");
  if (range === null) {
    return new Response(bytes, { headers: { ...common, "content-length": String(bytes.length) } });
  }
  const from = Number(range[1]);
  const to = Math.min(range[2] ? Number(range[2]) : bytes.length - 1, bytes.length - 1);
  if (from >= bytes.length) return new Response(null, { status: 416, headers: common });
  return new Response(bytes.slice(from, to + 1), {
    status: 206,
    headers: {
      ...common,
      "content-length": String(to - from + 1),
      "content-range": `bytes ${from}-${to}/${bytes.length}`,
    },
  });
}

export function content(sizeBytes: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sizeBytes);
  for (let i = 0; i < sizeBytes; i += 1) bytes[i] = (i * 13 + (i >> 9) + seed * 31) & 255;
  return bytes;
}

export const bodyOf = (bytes: Uint8Array<ArrayBuffer>) => new Response(bytes).body as ReadableStream<Uint8Array>;
