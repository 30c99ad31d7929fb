/**
 * A deployment under way: the objects of one release and the consumers, doors and timers of another, on the same queues,
 * storage and database. One release alone is the time before it, and after.
 */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { convertV4MiniflareOptions, type Json, Log, LogLevel, Miniflare, type V4WorkerOptions } from "miniflare";
import { unstable_getMiniflareWorkerOptions as miniflareOptionsOf, unstable_readConfig as readConfig } from "wrangler";
import { deliverJob } from "../../bench/stand-in-runner.ts";
import { bundleWorker } from "../../dev/bundle.ts";
import { eventually } from "../../dev/eventually.ts";
import { applyMigrations } from "../../dev/migration.ts";
import { uploadMultipart } from "../../dev/s3.ts";
import { mintToken } from "../../dev/secret.ts";
import { signWebhook } from "../../dev/standard-webhook.ts";
import { startWasabi, type Wasabi } from "../../dev/wasabi.ts";
import type { Asset } from "../../schemas/asset.ts";
import { originalKey } from "../../schemas/key.ts";
import { defaultLadder, type Quality } from "../../schemas/ladder.ts";
import { localWasabi, testBindings } from "../bindings.ts";

export type Side = "before" | "now";

export const quality: Quality = "540p";
/** One rendition, and watchdogs that a test can wait for. */
const policy = {
  ladder: { ...defaultLadder, rungs: defaultLadder.rungs.filter((rung) => rung.quality === quality) },
  placement: { edgeQualities: [quality], lucidlink: false },
  queuedWatchdogMs: 2_000,
  silentWatchdogMs: 4_000,
};
const owner = { clientName: "acme", projectName: "spring", fileName: "a.mov" };
const originalBytes = 100_000;
const now = fileURLToPath(new URL("../..", import.meta.url));
const patienceMs = 60_000;

export class TwoReleases {
  readonly #folders: Readonly<Record<Side, string>>;
  readonly #folder: string;
  readonly #wasabi: Wasabi;
  #miniflare: Miniflare | null = null;
  #api = "";
  readonly tokens: Record<"admin" | "viewer" | "runner", string>;

  private constructor(parts: { folder: string; before: string; wasabi: Wasabi; tokens: TwoReleases["tokens"] }) {
    const { folder, before, wasabi, tokens } = parts;
    this.#folder = folder;
    this.#folders = { before, now };
    this.#wasabi = wasabi;
    this.tokens = tokens;
  }

  /** @param before the folder of the release before */
  static async open(before: string): Promise<TwoReleases> {
    const folder = await mkdtemp(join(tmpdir(), "mmf-two-releases-"));
    const wasabi = await startWasabi({
      port: 0,
      directory: join(folder, "wasabi"),
      ...localWasabi,
    });
    const keys: Record<string, string> = JSON.parse(testBindings.JWT_KEYS);
    const mint = (role: "admin" | "viewer" | "runner") => mintToken(keys, role, role, "1h");
    const tokens = { admin: await mint("admin"), viewer: await mint("viewer"), runner: await mint("runner") };
    return new TwoReleases({ folder, before, wasabi, tokens });
  }

  /** The same storage goes on under these two; everything that only a queue held is lost, as the local ones forget. */
  async deploy({ objects, consumers }: { objects: Side; consumers: Side }): Promise<void> {
    await this.#miniflare?.dispose();
    const newest = [objects, consumers].includes("now") ? "now" : "before";
    const workers =
      objects === consumers
        ? [await this.#worker(objects, "deployed", newest)]
        : [await this.#worker(consumers, "front", newest, "deployed"), await this.#worker(objects, "deployed", null)];
    this.#miniflare = new Miniflare(
      convertV4MiniflareOptions({
        host: "127.0.0.1",
        port: 0,
        cf: false,
        log: new Log(LogLevel.NONE),
        logRequests: false,
        telemetry: { enabled: false },
        handleStructuredLogs: () => undefined,
        resourcePersistencePath: join(this.#folder, "worker"),
        workers,
      }),
    );
    const { origin } = await this.#miniflare.ready;
    this.#api = origin;
    const database = await this.#miniflare.getD1Database("CATALOGUE", workers[0]?.name ?? "");
    await applyMigrations(database, join(this.#folders[newest], "migrations"));
  }

  /** @param queues whose wrangler.toml says which queues it consumes; null: none of them */
  async #worker(side: Side, name: string, queues: Side | null, objectsOf?: string): Promise<V4WorkerOptions> {
    const options = (of: Side) => {
      const { secrets: _, ...config } = readConfig(
        { config: join(this.#folders[of], "wrangler.toml") },
        { hideWarnings: true },
      );
      return miniflareOptionsOf({ ...config, secrets: undefined });
    };
    const { workerOptions, define, main } = options(side);
    const { modulesRules: _rules, ...own } = workerOptions;
    const script = await bundleWorker(main ?? "", define);
    const elsewhere = (className: string) => ({ className, scriptName: objectsOf, useSQLite: true });
    return {
      ...own,
      ...script,
      name,
      modules: true,
      queueConsumers: queues === null ? {} : options(queues).workerOptions.queueConsumers,
      ...(objectsOf && {
        durableObjects: {
          ...(own.durableObjects as object),
          ASSET: elsewhere("AssetObject"),
          FEED: elsewhere("FeedObject"),
        },
      }),
      bindings: { ...(own.bindings as Record<string, Json>), ...this.#bindings() },
    } as V4WorkerOptions;
  }

  /** Whatever either of the two asks for; neither an agent nor an application is there. */
  #bindings(): Record<string, string> {
    const { endpoint } = this.#wasabi;
    const none = { LUCID_AGENT_URL: "", APP_WEBHOOK_URL: "" };
    return {
      ...testBindings,
      ...none,
      ENVIRONMENT: "local",
      WASABI_ENDPOINT: endpoint,
      POLICY: JSON.stringify(policy),
    };
  }

  async call(path: string, token: keyof TwoReleases["tokens"], json?: object): Promise<unknown> {
    const response = await fetch(`${this.#api}${path}`, {
      method: json === undefined ? "GET" : "POST",
      headers: { authorization: `Bearer ${this.tokens[token]}`, "content-type": "application/json" },
      ...(json && { body: JSON.stringify(json) }),
      signal: AbortSignal.timeout(30_000),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
    return JSON.parse(text);
  }

  newFileId = () => randomBytes(12).toString("hex");

  async putOriginal(fileId: string): Promise<void> {
    const bytes = async function* () {
      yield randomBytes(originalBytes);
    };
    const key = originalKey({ ...owner, fileId });
    const access = { ...localWasabi, endpoint: this.#wasabi.endpoint, region: testBindings.WASABI_REGION };
    await uploadMultipart(access, key, bytes(), { sizeBytes: originalBytes });
  }

  async notice(fileId: string): Promise<void> {
    const source = { kind: "wasabi", key: originalKey({ ...owner, fileId }) };
    const data = { ...owner, fileId, sizeBytes: originalBytes, source };
    const body = JSON.stringify({ type: "upload.completed", timestamp: new Date().toISOString(), data });
    const headers = signWebhook(testBindings.UPLOAD_WEBHOOK_SECRET, `msg_${fileId}`, new Date(), body);
    const response = await fetch(`${this.#api}/v1/webhooks/upload`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body,
    });
    if (!response.ok) throw new Error(`the webhook: ${response.status} ${await response.text()}`);
  }

  asset = async (fileId: string): Promise<Asset> => (await this.call(`/v1/assets/${fileId}`, "admin")) as Asset;

  until(fileId: string, state: Asset["state"]): Promise<Asset> {
    const about = { what: `${fileId} to be ${state}`, timeoutMs: patienceMs, everyMs: 200 };
    return eventually(about, async () => {
      const asset = await this.asset(fileId);
      return asset.state === state && asset;
    });
  }

  /** As a runner would. */
  async encode(fileId: string): Promise<void> {
    const { jobId, generation } = await this.asset(fileId);
    if (jobId === null) throw new Error("no job is offered");
    const stack = { api: this.#api, tokens: { runner: this.tokens.runner } };
    const rendition = {
      sizeBytes: 200_000,
      onProgress: () => undefined,
      beforeReport: async () => undefined,
      signal: AbortSignal.timeout(patienceMs),
    };
    await deliverJob(stack, { fileId, jobId, generation }, rendition);
  }

  async events(fileId: string): Promise<string[]> {
    const history = (await this.call(`/v1/assets/${fileId}/history`, "admin")) as { entries: { event: string }[] };
    return history.entries.map(({ event }) => event);
  }

  evict = (fileId: string) => this.call(`/v1/admin/assets/${fileId}/evict`, "admin", {});
  promote = (fileId: string) => this.call(`/v1/admin/assets/${fileId}/promote`, "admin", { qualities: [quality] });

  async listed(): Promise<{ fileId: string; state: string }[]> {
    return ((await this.call("/v1/assets", "admin")) as { assets: { fileId: string; state: string }[] }).assets;
  }

  async deadLetters(): Promise<unknown[]> {
    return ((await this.call("/v1/admin/dead-letters", "admin")) as { deadLetters: unknown[] }).deadLetters;
  }

  async close(): Promise<void> {
    await this.#miniflare?.dispose();
    await this.#wasabi.dispose();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
