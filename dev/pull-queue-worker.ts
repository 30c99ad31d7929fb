/**
 * Dev only: the wire format of Cloudflare's Queues pull API over local queues. As their push consumer it stores every
 * message in a SQLite object, one per queue; the worker pulls and acks them as in production. What is delivered too often goes
 * to the queue's dead-letter queue. It also lists the stack's queues, as Cloudflare's API does.
 */
import { DurableObject } from "cloudflare:workers";
import { z } from "zod";

export type PullQueueEnv = {
  QUEUE: DurableObjectNamespace<PullQueue>;
  /** Of each queue, its dead-letter queue's binding. */
  DEAD_LETTERS: Record<string, string>;
  /** As the API lists them. */
  QUEUES: unknown[];
  PULL_TOKEN: string;
  MAX_RETRIES: number;
};

const PullBody = z.object({
  batch_size: z.int().min(1).max(100).default(5),
  visibility_timeout_ms: z
    .int()
    .min(0)
    .max(12 * 3_600_000)
    .default(30_000),
});
type PullBody = z.infer<typeof PullBody>;

const AckBody = z.object({
  acks: z.array(z.object({ lease_id: z.string() })).default([]),
  retries: z
    .array(
      z.object({
        lease_id: z.string(),
        delay_seconds: z.int().min(0).max(86_400).default(0),
      }),
    )
    .default([]),
});
type AckBody = z.infer<typeof AckBody>;

type StoredMessage = { id: string; timestampMs: number; body: string };
type Row = { id: string; timestamp_ms: number; attempts: number; body: string };

const deadLetterRetryMs = 1_000;
const utf8 = new TextEncoder();

function base64(text: string): string {
  let binary = "";
  for (const byte of utf8.encode(text)) binary += String.fromCharCode(byte);
  return btoa(binary);
}

export class PullQueue extends DurableObject<PullQueueEnv> {
  readonly #sql: SqlStorage;

  constructor(ctx: DurableObjectState, env: PullQueueEnv) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#sql.exec(`CREATE TABLE IF NOT EXISTS message (
      id TEXT PRIMARY KEY, timestamp_ms INTEGER NOT NULL, body TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
      visible_at_ms INTEGER NOT NULL, lease_id TEXT UNIQUE)`);
  }

  async store(messages: StoredMessage[]): Promise<void> {
    for (const message of messages) {
      this.#sql.exec(
        "INSERT OR IGNORE INTO message (id, timestamp_ms, body, visible_at_ms) VALUES (?, ?, ?, ?)",
        message.id,
        message.timestampMs,
        message.body,
        Date.now(),
      );
    }
  }

  async pull({ batch_size, visibility_timeout_ms }: PullBody) {
    await this.#buryExhausted();
    const now = Date.now();
    const rows = this.#sql
      .exec<Row>(
        `SELECT id, timestamp_ms, attempts, body FROM message
         WHERE visible_at_ms <= ? AND attempts <= ? ORDER BY visible_at_ms, timestamp_ms LIMIT ?`,
        now,
        this.env.MAX_RETRIES,
        batch_size,
      )
      .toArray();
    const messages = rows.map((row) => {
      const leaseId = crypto.randomUUID();
      this.#sql.exec(
        "UPDATE message SET attempts = attempts + 1, visible_at_ms = ?, lease_id = ? WHERE id = ?",
        now + visibility_timeout_ms,
        leaseId,
        row.id,
      );
      return {
        id: row.id,
        timestamp_ms: row.timestamp_ms,
        attempts: row.attempts + 1,
        lease_id: leaseId,
        body: base64(row.body),
        metadata: {
          "CF-Content-Type": "json",
          "CF-sourceMessageSource": "worker",
        },
      };
    });
    await this.#armAlarm();
    return { message_backlog_count: this.#count(), messages };
  }

  /** Late acks are accepted, as in production, as long as nobody else has leased the message since. */
  async ack({ acks, retries }: AckBody) {
    let ackCount = 0;
    let retryCount = 0;
    for (const { lease_id } of acks) {
      ackCount += this.#sql.exec("DELETE FROM message WHERE lease_id = ?", lease_id).rowsWritten > 0 ? 1 : 0;
    }
    for (const { lease_id, delay_seconds } of retries) {
      const updated = this.#sql.exec(
        "UPDATE message SET visible_at_ms = ?, lease_id = NULL WHERE lease_id = ?",
        Date.now() + delay_seconds * 1_000,
        lease_id,
      );
      retryCount += updated.rowsWritten > 0 ? 1 : 0;
    }
    await this.#buryExhausted();
    await this.#armAlarm();
    return { ackCount, retryCount, warnings: [] };
  }

  override async alarm(): Promise<void> {
    await this.#buryExhausted();
    await this.#armAlarm();
  }

  #count(): number {
    return this.#sql.exec<{ n: number }>("SELECT COUNT(*) AS n FROM message").one().n;
  }

  /** The row goes only once the dead-letter queue has the message. */
  async #buryExhausted(): Promise<void> {
    const rows = this.#sql
      .exec<Pick<Row, "id" | "body">>(
        "SELECT id, body FROM message WHERE visible_at_ms <= ? AND attempts > ?",
        Date.now(),
        this.env.MAX_RETRIES,
      )
      .toArray();
    for (const row of rows) {
      try {
        await this.#deadLetters().send(JSON.parse(row.body), { contentType: "json" });
      } catch (error) {
        console.error("dead letter not sent", row.id, error);
        await this.ctx.storage.setAlarm(Date.now() + deadLetterRetryMs);
        return;
      }
      this.#sql.exec("DELETE FROM message WHERE id = ?", row.id);
    }
  }

  /** The object is named after its queue. */
  #deadLetters(): Queue {
    const binding = this.env.DEAD_LETTERS[this.ctx.id.name ?? ""] ?? "";
    return (this.env as unknown as Record<string, Queue>)[binding] as Queue;
  }

  /** Wakes when the last lease of an exhausted message runs out, even if nobody pulls any more. */
  async #armAlarm(): Promise<void> {
    const { at } = this.#sql
      .exec<{ at: number | null }>(
        "SELECT MIN(visible_at_ms) AS at FROM message WHERE attempts > ?",
        this.env.MAX_RETRIES,
      )
      .one();
    if (at !== null) await this.ctx.storage.setAlarm(Math.max(at, Date.now() + 10));
  }
}

function envelope(status: number, result: unknown, errors: { code: number; message: string }[] = []): Response {
  return Response.json({ success: errors.length === 0, errors, messages: [], result }, { status });
}

function refuse(status: number, code: number, message: string): Response {
  return envelope(status, null, [{ code, message }]);
}

async function hasToken(request: Request, token: string): Promise<boolean> {
  const given = request.headers.get("authorization") ?? "";
  const [a, b] = await Promise.all(
    [given, `Bearer ${token}`].map((text) => crypto.subtle.digest("SHA-256", utf8.encode(text))),
  );
  return a !== undefined && b !== undefined && crypto.subtle.timingSafeEqual(a, b);
}

const listRoute = /^\/client\/v4\/accounts\/[^/]+\/queues$/;
const route = /^\/client\/v4\/accounts\/[^/]+\/queues\/([^/]+)\/messages\/(pull|ack)$/;

async function listQueues(request: Request, env: PullQueueEnv): Promise<Response> {
  if (request.method !== "GET") return refuse(405, 10001, "Method not allowed");
  if (!(await hasToken(request, env.PULL_TOKEN))) return refuse(403, 10000, "Authentication error");
  return envelope(200, env.QUEUES);
}

export default {
  async fetch(request, env): Promise<Response> {
    if (listRoute.test(new URL(request.url).pathname)) return await listQueues(request, env);
    const [, queueName = "", operation] = route.exec(new URL(request.url).pathname) ?? [];
    if (operation === undefined) return refuse(404, 7003, "No route for that URI");
    if (request.method !== "POST") return refuse(405, 10001, "Method not allowed");
    if (!(await hasToken(request, env.PULL_TOKEN))) return refuse(403, 10000, "Authentication error");
    if (!Object.hasOwn(env.DEAD_LETTERS, queueName)) return refuse(404, 11000, "Queue does not exist");
    const body: unknown = await request.json().catch(() => ({}));
    const queue = env.QUEUE.get(env.QUEUE.idFromName(queueName));
    if (operation === "pull") {
      const parsed = PullBody.safeParse(body);
      if (!parsed.success) return refuse(400, 10026, z.prettifyError(parsed.error));
      return envelope(200, await queue.pull(parsed.data));
    }
    const parsed = AckBody.safeParse(body);
    if (!parsed.success) return refuse(400, 10026, z.prettifyError(parsed.error));
    return envelope(200, await queue.ack(parsed.data));
  },

  async queue(batch, env): Promise<void> {
    const queue = env.QUEUE.get(env.QUEUE.idFromName(batch.queue));
    await queue.store(
      batch.messages.map((message) => ({
        id: message.id,
        timestampMs: message.timestamp.getTime(),
        body: JSON.stringify(message.body),
      })),
    );
  },
} satisfies ExportedHandler<PullQueueEnv>;
