/**
 * The other side of the runner for tests, over real sockets: the queues' doors, the job's WebSocket and its POSTs,
 * and a store for source and parts. It follows the protocol; a test overrides single answers to make trouble.
 */
import { createHash } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { defaultLadder, type LadderPolicy } from "../../../schemas/ladder.ts";
import { planLadder } from "../../../schemas/plan-ladder.ts";
import {
  AckRequest,
  type ObjectFrame,
  PartRequest,
  PullRequest,
  RetryRequest,
  RunnerFrame,
  type TranscodeMessage,
} from "../../../schemas/runner-protocol.ts";
import { listenOnLoopback } from "../../loopback.ts";

export const lease = "lease-token-of-22-chars-or-more";
export const apiToken = "secret-api-token-of-the-runner";

export const pullPath = "/v1/runner/messages/pull";

export type Received = { frame: RunnerFrame; socket: WebSocket; connection: number };
export type StoredPart = { bytes: Buffer; md5: string; puts: number };

export type PeerOptions = {
  leaseMs?: number;
  ladder?: LadderPolicy;
  source?: Buffer;
  /** undefined: the default answer; null: none. */
  answer?: (received: Received) => ObjectFrame | null | undefined;
  /** Answers a part's PUT in another way; true: done. `puts` counts this part's, from 1. */
  onPut?: (
    request: IncomingMessage,
    response: ServerResponse,
    part: { quality: string; n: number; puts: number },
  ) => boolean;
  /** Answers a read of the source in another way; true: done. */
  onSource?: (request: IncomingMessage, response: ServerResponse) => boolean;
  onPost?: (path: string, body: unknown, response: ServerResponse) => boolean;
  partUrlTtlMs?: number;
};

export type Peer = Awaited<ReturnType<typeof startPeer>>;

export function jobMessage(n = 1): TranscodeMessage {
  const fileId = `file-${String(n).padStart(8, "0")}`;
  return {
    type: "EnqueueTranscode",
    id: `${fileId}:1:0`,
    fileId,
    jobId: n.toString(16).padStart(24, "0"),
    generation: 1,
    priority: 50,
  };
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function answerJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

export async function startPeer(options: PeerOptions = {}) {
  const events = new EventEmitter();
  /** What happened, in order: `pull`, `ack:ID`, `retry:ID:SECONDS`, `frame:TYPE`, `put:QUALITY/N`. */
  const journal: string[] = [];
  const frames: Received[] = [];
  const parts = new Map<string, StoredPart>();
  const puts = new Map<string, number>();
  const partRequests: PartRequest[] = [];
  const queue: { leaseId: string; message: unknown }[] = [];
  const waiting = new Set<(next: (typeof queue)[number] | undefined) => void>();
  const sockets = new Set<WebSocket>();
  const raw = new Set<Socket>();
  let connections = 0;
  let refuseUpgrades = 0;
  let refusalStatus: 401 | 503 = 503;
  let grants = 0;

  const note = (entry: string) => {
    journal.push(entry);
    events.emit("journal");
  };
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });
  server.on("connection", (socket) => {
    raw.add(socket);
    socket.once("close", () => raw.delete(socket));
  });
  const webSockets = new WebSocketServer({ noServer: true });
  server.on("upgrade", (request, socket, head) => {
    if (refuseUpgrades > 0 || request.headers.authorization !== `Bearer ${apiToken}`) {
      refuseUpgrades--;
      const isTokenRefused = refuseUpgrades < 0 || refusalStatus === 401;
      socket.end(
        `HTTP/1.1 ${isTokenRefused ? "401 Unauthorized" : "503 Service Unavailable"}\r\nConnection: close\r\n\r\n`,
      );
      return;
    }
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const connection = ++connections;
      sockets.add(webSocket);
      webSocket.once("close", () => {
        sockets.delete(webSocket);
        note(`closed:${connection}`);
      });
      webSocket.on("message", (data) => {
        const received = { frame: RunnerFrame.parse(JSON.parse(data.toString())), socket: webSocket, connection };
        frames.push(received);
        note(`frame:${received.frame.type}`);
        const answer = options.answer?.(received);
        const sent = answer === undefined ? defaultAnswer(received.frame) : answer;
        if (sent !== null) webSocket.send(JSON.stringify(sent));
      });
    });
  });
  const url = `http://127.0.0.1:${await listenOnLoopback(server)}`;

  function defaultAnswer(frame: RunnerFrame): ObjectFrame | null {
    if (frame.type === "progress") return null;
    if (frame.type === "claim") return grantFor(frame.seq);
    if (frame.type === "probed") {
      return { type: "ladder", seq: frame.seq, renditions: planLadder(frame.source, options.ladder ?? defaultLadder) };
    }
    return { type: "ok", seq: frame.seq };
  }

  function grantFor(seq: number): ObjectFrame {
    return {
      type: "granted",
      seq,
      lease,
      leaseMs: options.leaseMs ?? 30_000,
      generation: 1,
      source: sourceGrant(),
      ladder: options.ladder ?? defaultLadder,
      archived: [],
    };
  }

  function sourceGrant() {
    const { source } = options;
    return {
      url: `${url}/source?X-Amz-Signature=source-signature-${++grants}`,
      expiresAt: new Date(Date.now() + 900_000).toISOString(),
      sizeBytes: source?.length ?? 1,
      etag: source === undefined ? "none" : createHash("md5").update(source).digest("hex"),
    };
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "/", url);
    if (pathname === "/source") {
      if (!options.onSource?.(request, response)) serveSource(request, response);
      return;
    }
    if (pathname.startsWith("/store/")) return storePart(request, response, pathname.slice("/store/".length));
    const text = (await readBody(request)).toString();
    const body: unknown = text === "" ? null : JSON.parse(text);
    if (options.onPost?.(pathname, body, response)) return;
    if (request.headers.authorization !== `Bearer ${apiToken}`) {
      answerJson(response, 401, { code: "UNAUTHENTICATED", detail: "wrong token" });
      return;
    }
    if (pathname === pullPath) pull(PullRequest.parse(body), response);
    else if (pathname === "/v1/runner/messages/ack") settle(`ack:${AckRequest.parse(body).leaseId}`, response);
    else if (pathname === "/v1/runner/messages/retry") {
      const { leaseId, delaySeconds } = RetryRequest.parse(body);
      settle(`retry:${leaseId}:${delaySeconds}`, response);
    } else if (pathname.endsWith("/source")) answerJson(response, 200, sourceGrant());
    else grantParts(PartRequest.parse(body), response);
  }

  /** As the API does: it waits, and says so with spaces. */
  function pull({ waitSeconds }: PullRequest, response: ServerResponse): void {
    note("pull");
    const give = (next: (typeof queue)[number] | undefined) => {
      const pulled = next === undefined ? null : { queue: "transcode", attempts: 1, ...next };
      clearTimeout(timer);
      waiting.delete(give);
      if (!response.headersSent) response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ pulled }));
    };
    const timer = setTimeout(() => give(undefined), waitSeconds * 1_000);
    const next = queue.shift();
    if (next !== undefined || waitSeconds === 0) {
      give(next);
      return;
    }
    response.writeHead(200, { "content-type": "application/json" }).write(" ");
    waiting.add(give);
    response.once("close", () => {
      clearTimeout(timer);
      waiting.delete(give);
    });
  }

  function enqueue(leaseId: string, message: unknown): void {
    const [first] = waiting;
    if (first === undefined) queue.push({ leaseId, message });
    else first({ leaseId, message });
  }

  function settle(entry: string, response: ServerResponse): void {
    note(entry);
    answerJson(response, 200, {});
  }

  function grantParts(asked: PartRequest, response: ServerResponse): void {
    partRequests.push(asked);
    const expiresAt = new Date(Date.now() + (options.partUrlTtlMs ?? 900_000)).toISOString();
    const granted = asked.numbers.map((n) => ({
      n,
      url: `${url}/store/${asked.quality}/${n}?grant=${++grants}&X-Amz-Signature=part-signature-${grants}`,
    }));
    answerJson(response, 200, { parts: granted, expiresAt });
  }

  async function storePart(request: IncomingMessage, response: ServerResponse, key: string): Promise<void> {
    const [quality = "", number = ""] = key.split("/");
    const count = (puts.get(key) ?? 0) + 1;
    puts.set(key, count);
    if (options.onPut?.(request, response, { quality, n: Number(number), puts: count })) return;
    const bytes = await readBody(request);
    const digest = createHash("md5").update(bytes).digest();
    if (request.headers["content-length"] !== String(bytes.length) || request.headers["transfer-encoding"]) {
      response.writeHead(411).end();
      return;
    }
    if (request.headers["content-md5"] !== digest.toString("base64")) {
      response.writeHead(400).end("<Error><Code>BadDigest</Code></Error>");
      return;
    }
    parts.set(key, { bytes, md5: digest.toString("hex"), puts: count });
    note(`put:${key}`);
    response.writeHead(200, { etag: `"${digest.toString("hex")}"` }).end();
  }

  function serveSource(request: IncomingMessage, response: ServerResponse): void {
    const source = options.source ?? Buffer.alloc(1);
    const [, from = "0", to = ""] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
    const end = to === "" ? source.length - 1 : Math.min(Number(to), source.length - 1);
    response
      .writeHead(request.headers.range === undefined ? 200 : 206, {
        "content-range": `bytes ${from}-${end}/${source.length}`,
        "content-length": end - Number(from) + 1,
        etag: `"${createHash("md5").update(source).digest("hex")}"`,
      })
      .end(source.subarray(Number(from), end + 1));
  }

  return {
    url,
    journal,
    frames,
    parts,
    puts,
    partRequests,
    grantFor,
    framesOf: <Type extends RunnerFrame["type"]>(type: Type) =>
      frames
        .map(({ frame }) => frame)
        .filter((frame): frame is Extract<RunnerFrame, { type: Type }> => frame.type === type),
    enqueue,
    refuseNextUpgrades: (count: number, status: 401 | 503 = 503) => {
      refuseUpgrades = count;
      refusalStatus = status;
    },
    broadcast: (frame: ObjectFrame) => {
      for (const socket of sockets) socket.send(JSON.stringify(frame));
    },
    /** As when a machine in between restarts: no close frame. */
    cutSockets: () => {
      for (const socket of sockets) socket.terminate();
    },
    closeSockets: (code: number) => {
      for (const socket of sockets) socket.close(code, "said the peer");
    },
    openSockets: () => sockets.size,
    /** Resolves once the journal has the entry `count` times. */
    async until(entry: string | RegExp, count = 1): Promise<void> {
      const matches = (line: string) => (typeof entry === "string" ? line === entry : entry.test(line));
      while (journal.filter(matches).length < count) await once(events, "journal");
    },
    /** A finished rendition's bytes, from its parts in order. */
    rendition(quality: string): Buffer {
      const numbers = [...parts.keys()].filter((key) => key.startsWith(`${quality}/`)).length;
      return Buffer.concat(
        Array.from({ length: numbers }, (_, index) => parts.get(`${quality}/${index + 1}`)?.bytes ?? Buffer.alloc(0)),
      );
    },
    async stop(): Promise<void> {
      for (const socket of sockets) socket.terminate();
      for (const socket of raw) socket.destroy();
      webSockets.close();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
