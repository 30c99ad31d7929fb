/**
 * The Feed object: fans the status of many assets out to the sockets that watch a client or everything, at most 4 batches
 * a second per socket, only the newest frame per asset. More instances keep what belongs to no file: `tickets` the one-use
 * socket tickets, `webhooks:{n}` what was said under each webhook-id. (A class of their own would be a migration, and no
 * deployment can be rolled back across one.)
 */
import { DurableObject } from "cloudflare:workers";
import { z } from "zod";
import type { SingleFrame } from "../schemas/api.ts";
import { TokenClaims } from "../schemas/api.ts";
import { Slug } from "../schemas/id.ts";
import { log } from "../workers/log.ts";
import { listAssets } from "../workers/stores/catalogue.ts";
import type { Env } from "../workers/stores/config.ts";
import { retained, watchedRetention } from "../workers/stores/retained.ts";
import { type Retention, termsOf } from "../workers/stores/retention-policy.ts";
import { assetDoor } from "./asset-door.ts";
import type { FeedDoor } from "./feed-door.ts";
import { closeEndedSockets, nextLookAtMs, tokenOf } from "./socket-token.ts";
import { sendFrame } from "./status-socket.ts";
import { type WebhookFields, WebhookRecord } from "./webhook-record.ts";

const batchIntervalMs = 250;
const ticketLifeMs = 60_000;
/** What a watcher of many sees at once when it connects; the list behind GET /v1/assets has the rest. */
const snapshotsAtMost = 50;

const Watch = z.object({ client: Slug.nullable(), project: Slug.nullable() });
type Watch = z.infer<typeof Watch>;

interface Waiting {
  clientName: string | null;
  projectName: string | null;
  frame: SingleFrame;
}

export class FeedObject extends DurableObject<Env> implements FeedDoor {
  readonly #waiting = new Map<string, Waiting>();
  readonly #webhooks = new WebhookRecord(this.ctx.storage.sql);
  #timer: ReturnType<typeof setTimeout> | null = null;

  async publish(clientName: string | null, projectName: string | null, frame: SingleFrame): Promise<void> {
    if (this.ctx.getWebSockets().length === 0) return;
    this.#waiting.set(subjectOf(frame), { clientName, projectName, frame });
    this.#arm();
  }

  #arm(): void {
    this.#timer ??= setTimeout(() => this.ctx.waitUntil(this.#flush()), batchIntervalMs);
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get("Upgrade")?.toLowerCase() !== "websocket") return new Response(null, { status: 426 });
    const query = new URL(request.url).searchParams;
    const watch = Watch.parse({ client: query.get("client"), project: query.get("project") });
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    server.serializeAttachment({ ...watch, ...tokenOf(query, Date.now()) });
    await this.#armLook();
    this.ctx.waitUntil(this.#sendSnapshots(server, watch));
    return new Response(null, { status: 101, webSocket: client });
  }

  override async alarm(): Promise<void> {
    const sockets = this.ctx.getWebSockets();
    await closeEndedSockets(sockets, { database: this.env.CATALOGUE, ctx: this.ctx, nowMs: Date.now() });
    await this.#armLook();
  }

  async #armLook(): Promise<void> {
    const atMs = nextLookAtMs(this.ctx.getWebSockets());
    if (atMs !== null) await this.ctx.storage.setAlarm(atMs);
    // A feed keeps nothing but its alarm: without watchers no database is left, and none is billed.
    else if (!this.#keepsRows()) await this.ctx.storage.deleteAll();
  }

  #keepsRows(): boolean {
    const tables = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name NOT GLOB '_cf*'";
    return !this.ctx.storage.sql.exec(tables).next().done;
  }

  /** The newest assets as they are. A change may overtake its snapshot: watchers order by revision. */
  async #sendSnapshots(socket: WebSocket, { client, project }: Watch): Promise<void> {
    try {
      const query = {
        order: "changed" as const,
        limit: snapshotsAtMost,
        ...(client && { client }),
        ...(project && { project }),
      };
      const { assets } = await listAssets(this.env.CATALOGUE, [client ?? "*"], query);
      const views = await Promise.all(assets.map(({ fileId }) => assetDoor(this.env.ASSET, fileId).view()));
      const present = views.filter((asset) => asset !== null);
      const retention = await watchedRetention(this.env);
      const frames = present.map((asset) => underTerms({ type: "snapshot", asset }, retention));
      if (frames.length > 0) sendFrame(socket, { type: "batch", frames });
    } catch (fault) {
      // The watcher still gets every change from now on.
      log({ event: "feed.snapshot-failed", clientName: client ?? "*" }, fault);
    }
  }

  override async webSocketClose(socket: WebSocket): Promise<void> {
    socket.close();
    await this.#armLook();
  }

  /** One at a time, so that no batch overtakes another: what comes meanwhile waits for the next. */
  async #flush(): Promise<void> {
    const isAsset = ({ frame }: Waiting) => frame.type === "asset";
    const retention = [...this.#waiting.values()].some(isAsset) ? await watchedRetention(this.env) : null;
    this.#timer = null;
    const waiting = [...this.#waiting.values()].map((each) => ({ ...each, frame: underTerms(each.frame, retention) }));
    this.#waiting.clear();
    for (const socket of this.ctx.getWebSockets()) {
      const watch = Watch.parse(socket.deserializeAttachment());
      const frames = waiting.filter((subject) => isWatched(watch, subject)).map(({ frame }) => frame);
      if (frames.length > 0) sendFrame(socket, { type: "batch", frames });
    }
  }

  async issueTicket(claims: TokenClaims): Promise<{ ticket: string; expiresAtMs: number }> {
    const nowMs = Date.now();
    this.#makeTickets();
    this.ctx.storage.sql.exec("DELETE FROM ticket WHERE until_ms <= ?", nowMs);
    const ticket = crypto.randomUUID().replaceAll("-", "") + crypto.randomUUID().replaceAll("-", "");
    const expiresAtMs = nowMs + ticketLifeMs;
    this.ctx.storage.sql.exec(
      "INSERT INTO ticket (digest, claims, until_ms) VALUES (?, ?, ?)",
      await digestOf(ticket),
      JSON.stringify(claims),
      expiresAtMs,
    );
    return { ticket, expiresAtMs };
  }

  async differences(webhookId: string, fields: WebhookFields): Promise<string[]> {
    return this.#webhooks.differences(webhookId, fields, Date.now());
  }

  /** Not by the constructor: a feed keeps nothing, and one that somebody asks for by chance must leave no database behind. */
  #makeTickets(): void {
    this.ctx.storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS ticket (digest TEXT PRIMARY KEY, claims TEXT NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID",
    );
  }

  async redeemTicket(ticket: string): Promise<TokenClaims | null> {
    const digest = await digestOf(ticket);
    this.#makeTickets();
    const row = this.ctx.storage.sql
      .exec<{ claims: string }>(
        "DELETE FROM ticket WHERE digest = ? AND until_ms > ? RETURNING claims",
        digest,
        Date.now(),
      )
      .next();
    return row.done ? null : TokenClaims.parse(JSON.parse(row.value.claims));
  }
}

function underTerms(frame: SingleFrame, retention: Retention | null): SingleFrame {
  if (retention === null || (frame.type !== "snapshot" && frame.type !== "asset")) return frame;
  return { ...frame, asset: retained(frame.asset, termsOf(retention, frame.asset)) };
}

/** An asset's progress must not push out its newest document, so they are kept apart. */
function subjectOf(frame: SingleFrame): string {
  switch (frame.type) {
    case "snapshot":
    case "asset":
      return `asset:${frame.asset.fileId}`;
    case "progress":
      return `progress:${frame.fileId}`;
    case "alert":
      return `alert:${frame.id}`;
  }
}

function isWatched(watch: Watch, { clientName, projectName }: Waiting): boolean {
  if (watch.client !== null && clientName !== null && watch.client !== clientName) return false;
  return watch.project === null || projectName === null || watch.project === projectName;
}

/** Only a digest is stored, so that a look-up by the ticket itself leaks nothing through its timing. */
async function digestOf(ticket: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(ticket));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
