/**
 * A client of the pipeline as an outsider writes one: it knows stack.json and the description of the API, speaks S3 to
 * Wasabi, signs its webhooks, and sees nothing of the inside.
 */
import { createHmac, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { objectUrl, s3Client, uploadMultipart } from "../../dev/s3.ts";
import {
  AppCall,
  Asset,
  AssetPage,
  Grant,
  type HistoryEntry,
  HistoryPage,
  ProblemBody,
  type SingleFrame,
  type StackFacts,
  Ticket,
} from "./asset-document.ts";
import { openStatusSocket, type StatusSocket } from "./status-socket.ts";

const multipartAboveBytes = 8 * 1024 * 1024;
const callTimeoutMs = 30_000;

export interface Upload {
  fileId: string;
  clientName: string;
  projectName: string;
  fileName: string;
  sizeBytes: number;
  priority?: number;
  source: { kind: "wasabi"; key: string } | { kind: "url"; url: string };
}

export interface Answer {
  status: number;
  body: unknown;
}

type Role = keyof StackFacts["tokens"];

export function newFileId(): string {
  return randomBytes(12).toString("hex");
}

export function originalKeyOf(upload: Omit<Upload, "source" | "sizeBytes">): string {
  return `originals/${upload.clientName}/${upload.projectName}/${upload.fileId}/${upload.fileName}`;
}

export function proxyKeyOf(asset: Pick<Asset, "clientName" | "projectName" | "fileId">, quality: string): string {
  return `proxies/${asset.clientName}/${asset.projectName}/${asset.fileId}/${quality}.mp4`;
}

/** Standard Webhooks: HMAC-SHA256 of id.timestamp.body with the secret's base64 bytes. */
export function webhookHeaders(secret: string, id: string, sentAt: Date, body: string): Record<string, string> {
  const timestamp = String(Math.floor(sentAt.getTime() / 1_000));
  const signature = createHmac("sha256", Buffer.from(secret.slice("whsec_".length), "base64"))
    .update(`${id}.${timestamp}.${body}`)
    .digest("base64");
  return {
    "content-type": "application/json",
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${signature}`,
  };
}

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  return { status: response.status, body: text === "" ? null : JSON.parse(text) };
}

/** @throws when the answer is not a problem of this status */
export function problemOf({ status, body }: Answer, expected: number): ProblemBody {
  if (status !== expected) throw new Error(`expected ${expected}, got ${status}: ${JSON.stringify(body)}`);
  return ProblemBody.parse(body);
}

export class PipelineClient {
  readonly stack: StackFacts;

  constructor(stack: StackFacts) {
    this.stack = stack;
  }

  async #call(role: Role, method: string, path: string, body?: unknown): Promise<unknown> {
    const answer = await this.request(method, path, { token: this.stack.tokens[role], body });
    if (answer.status !== 200) {
      throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    }
    return answer.body;
  }

  /** One call of the API; without a token when none is given. */
  async request(method: string, path: string, options: { token?: string; body?: unknown } = {}): Promise<Answer> {
    const { token, body } = options;
    const response = await fetch(`${this.stack.api}${path}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(callTimeoutMs),
    });
    return answerOf(response);
  }

  /** PUT, or multipart when it is large. */
  async uploadToWasabi(file: string, key: string): Promise<void> {
    const { wasabi } = this.stack;
    const { size } = await stat(file);
    if (size > multipartAboveBytes) {
      await uploadMultipart(wasabi, key, createReadStream(file), { sizeBytes: size });
      return;
    }
    const response = await s3Client(wasabi).fetch(objectUrl(wasabi, key), {
      method: "PUT",
      body: await readFile(file),
      signal: AbortSignal.timeout(callTimeoutMs),
    });
    if (!response.ok) throw new Error(`Wasabi answered ${response.status} to PUT ${key}: ${await response.text()}`);
    await response.arrayBuffer();
  }

  /** @returns null when there is no such object */
  async headWasabi(key: string): Promise<{ sizeBytes: number; etag: string } | null> {
    const { wasabi } = this.stack;
    const response = await s3Client(wasabi).fetch(objectUrl(wasabi, key), {
      method: "HEAD",
      signal: AbortSignal.timeout(callTimeoutMs),
    });
    if (response.status === 404) return null;
    if (!response.ok) throw new Error(`Wasabi answered ${response.status} to HEAD ${key}`);
    return {
      sizeBytes: Number(response.headers.get("content-length")),
      etag: (response.headers.get("etag") ?? "").replaceAll('"', ""),
    };
  }

  async getWasabi(key: string): Promise<Buffer> {
    const { wasabi } = this.stack;
    const response = await s3Client(wasabi).fetch(objectUrl(wasabi, key), {
      signal: AbortSignal.timeout(callTimeoutMs),
    });
    if (!response.ok) throw new Error(`Wasabi answered ${response.status} to GET ${key}`);
    return Buffer.from(await response.arrayBuffer());
  }

  /** A signed upload webhook; `secret` and `id` are for those who send it wrongly or again. */
  async sendWebhook(upload: object, options: { id?: string; secret?: string; sentAt?: Date } = {}): Promise<Answer> {
    const sentAt = options.sentAt ?? new Date();
    const body = JSON.stringify({ type: "upload.completed", timestamp: sentAt.toISOString(), data: upload });
    const id = options.id ?? `msg_${randomBytes(12).toString("hex")}`;
    const response = await fetch(`${this.stack.api}/v1/webhooks/upload`, {
      method: "POST",
      headers: webhookHeaders(options.secret ?? this.stack.webhookSecret, id, sentAt, body),
      body,
      signal: AbortSignal.timeout(callTimeoutMs),
    });
    return answerOf(response);
  }

  /** Uploads to the canonical key (or `key`) and tells; the webhook must be taken. */
  async ingest(file: string, options: Partial<Upload> & { key?: string } = {}): Promise<Upload> {
    const named = {
      fileId: options.fileId ?? newFileId(),
      clientName: options.clientName ?? "acme",
      projectName: options.projectName ?? "launch-film",
      fileName: options.fileName ?? "A001.mov",
    };
    const key = options.key ?? originalKeyOf(named);
    await this.uploadToWasabi(file, key);
    const upload: Upload = {
      ...named,
      sizeBytes: options.sizeBytes ?? (await stat(file)).size,
      ...(options.priority === undefined ? {} : { priority: options.priority }),
      source: { kind: "wasabi", key },
    };
    const answer = await this.sendWebhook(upload);
    if (answer.status !== 202) throw new Error(`the webhook got ${answer.status}: ${JSON.stringify(answer.body)}`);
    return upload;
  }

  async asset(fileId: string): Promise<Asset> {
    return Asset.parse(await this.#call("viewer", "GET", `/v1/assets/${fileId}`));
  }

  /** The whole history, oldest first. */
  async history(fileId: string): Promise<HistoryEntry[]> {
    const entries: HistoryEntry[] = [];
    let cursor: string | null = null;
    do {
      const query: string = cursor === null ? "" : `?cursor=${encodeURIComponent(cursor)}`;
      const page: HistoryPage = HistoryPage.parse(
        await this.#call("viewer", "GET", `/v1/assets/${fileId}/history${query}`),
      );
      entries.push(...page.entries);
      cursor = page.cursor;
    } while (cursor !== null);
    return entries.sort((a, b) => a.revision - b.revision);
  }

  async list(query: Record<string, string>): Promise<AssetPage["assets"]> {
    const assets: AssetPage["assets"] = [];
    let cursor: string | null = null;
    do {
      const search = new URLSearchParams({ ...query, ...(cursor === null ? {} : { cursor }) });
      const page: AssetPage = AssetPage.parse(await this.#call("viewer", "GET", `/v1/assets?${search}`));
      assets.push(...page.assets);
      cursor = page.cursor;
    } while (cursor !== null);
    return assets;
  }

  async playbackUrl(fileId: string, quality: string): Promise<string> {
    const grant = Grant.parse(await this.#call("viewer", "POST", `/v1/assets/${fileId}/playback`, { quality }));
    return grant.url;
  }

  async ticket(): Promise<string> {
    return Ticket.parse(await this.#call("viewer", "POST", "/v1/tickets")).ticket;
  }

  watch(fileId: string): StatusSocket {
    return this.#socket(`/v1/assets/${fileId}/status`);
  }

  watchMany(query: Record<string, string>): StatusSocket {
    return this.#socket(`/v1/status?${new URLSearchParams(query)}`);
  }

  #socket(path: string): StatusSocket {
    return openStatusSocket(`${this.stack.api.replace(/^http/, "ws")}${path}`, {
      authorization: `Bearer ${this.stack.tokens.viewer}`,
    });
  }

  /**
   * Follows the socket until the asset is as wanted. An asset that fails meanwhile ends the wait with its problem, unless
   * that is what is wanted. On any miss the error tells the asset's last state and the end of its history.
   */
  async follow(fileId: string, wanted: (asset: Asset) => boolean, timeoutMs: number): Promise<Asset> {
    const socket = this.watch(fileId);
    const assetOf = (frame: SingleFrame): Asset | null =>
      frame.type === "snapshot" || frame.type === "asset" ? (frame as { asset: Asset }).asset : null;
    try {
      const frame = await socket.until((candidate) => {
        const asset = assetOf(candidate);
        return asset !== null && (wanted(asset) || asset.state === "failed");
      }, timeoutMs);
      const asset = assetOf(frame);
      if (asset === null || !wanted(asset)) throw new Error(`it failed: ${JSON.stringify(asset?.problem)}`);
      return asset;
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${await this.#describe(fileId)}`, { cause: error });
    } finally {
      socket.close();
    }
  }

  async followTo(fileId: string, state: Asset["state"], timeoutMs: number): Promise<Asset> {
    return await this.follow(fileId, (asset) => asset.state === state, timeoutMs);
  }

  async #describe(fileId: string): Promise<string> {
    try {
      const { state, revision, problem, renditions } = await this.asset(fileId);
      const history = (await this.history(fileId)).slice(-15);
      const copies = renditions.map(({ quality, status, copies }) => [
        quality,
        status,
        ...copies.map((copy) => `${copy.tier}:${copy.status}`),
      ]);
      return [
        `asset ${fileId} is ${state} at revision ${revision}; ${JSON.stringify({ problem, copies })}`,
        ...history.map((entry) => `  ${entry.revision} ${entry.at} ${entry.event} by ${entry.by} → ${entry.state}`),
      ].join("\n");
    } catch (error) {
      return `and asset ${fileId} cannot be read: ${(error as Error).message}`;
    }
  }

  /** What the application's database was told about a file, in the order of arrival. */
  async appCalls(fileId: string): Promise<AppCall[]> {
    const text = await readFile(this.stack.appWebhook?.file ?? "", "utf8").catch(() => "");
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => AppCall.parse(JSON.parse(line)))
      .filter(({ body }) => body.data.asset.fileId === fileId);
  }

  /** Every file in the LucidLink tree, hidden and half-written ones too, relative to its root. */
  async lucidLinkFiles(): Promise<string[]> {
    const { root } = this.stack.lucidlink;
    const entries = await readdir(root, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => relative(root, join(entry.parentPath, entry.name)))
      .sort();
  }
}
