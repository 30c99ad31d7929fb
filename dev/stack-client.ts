/** A client of a running stack that knows only stack.json and the API's shapes. */
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";
import type { z } from "zod";
import {
  HistoryPage,
  PlaybackGrant,
  ProblemBody,
  StatusFrame,
  UploadAccepted,
  type UploadWebhook,
} from "../schemas/api.ts";
import { Asset, type HistoryEntry } from "../schemas/asset.ts";
import type { Quality } from "../schemas/ladder.ts";
import { OriginalAccessGrant, type OriginalAccessRequest } from "../schemas/original-access.ts";
import type { StackFile } from "./stack-file.ts";
import { signWebhook } from "./standard-webhook.ts";

const requestTimeoutMs = 30_000;
/** An index of tens of megabytes may have to be read from Wasabi first. */
const originalIndexTimeoutMs = 90_000;
const reconnectMs = 500;

export class ApiError extends Error {
  readonly code: string;
  constructor(what: string, status: number, code: string, detail: string) {
    super(`${what}: ${code} (HTTP ${status}): ${detail}`);
    this.name = "ApiError";
    this.code = code;
  }
}

async function parseAnswer<Schema extends z.ZodType>(
  what: string,
  response: Response,
  schema: Schema,
): Promise<z.infer<Schema>> {
  const text = await response.text();
  let body: unknown = null;
  try {
    body = JSON.parse(text);
  } catch {
    throw new ApiError(what, response.status, "NOT_JSON", text.slice(0, 200));
  }
  if (response.ok) return schema.parse(body);
  const problem = ProblemBody.safeParse(body);
  if (!problem.success) throw new ApiError(what, response.status, "UNKNOWN", text.slice(0, 200));
  const fields = (problem.data.errors ?? []).map((error) => ` ${error.path}: ${error.message}.`).join("");
  throw new ApiError(what, response.status, problem.data.code, `${problem.data.detail}${fields}`);
}

export async function sendUploadWebhook(
  stack: StackFile,
  webhook: UploadWebhook,
  webhookId: string,
): Promise<UploadAccepted> {
  const body = JSON.stringify(webhook);
  const response = await fetch(`${stack.api}/v1/webhooks/upload`, {
    method: "POST",
    headers: { "content-type": "application/json", ...signWebhook(stack.webhookSecret, webhookId, new Date(), body) },
    body,
    signal: AbortSignal.timeout(requestTimeoutMs),
  });
  return await parseAnswer("the upload webhook was refused", response, UploadAccepted);
}

export async function requestPlayback(stack: StackFile, fileId: string, quality: Quality): Promise<PlaybackGrant> {
  const response = await fetch(`${stack.api}/v1/assets/${fileId}/playback`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${stack.tokens.viewer}` },
    body: JSON.stringify({ quality }),
    signal: AbortSignal.timeout(requestTimeoutMs),
  });
  return await parseAnswer(`no playback URL for ${quality}`, response, PlaybackGrant);
}

export async function requestOriginalAccess(
  stack: StackFile,
  fileId: string,
  access: OriginalAccessRequest,
): Promise<OriginalAccessGrant> {
  const response = await fetch(`${stack.api}/v1/assets/${fileId}/original/access`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${stack.tokens.render}` },
    body: JSON.stringify(access),
    signal: AbortSignal.timeout(originalIndexTimeoutMs),
  });
  return await parseAnswer("no access to the original", response, OriginalAccessGrant);
}

async function read<Schema extends z.ZodType>(
  stack: StackFile,
  path: string,
  schema: Schema,
): Promise<z.infer<Schema>> {
  const response = await fetch(`${stack.api}${path}`, {
    headers: { authorization: `Bearer ${stack.tokens.viewer}` },
    signal: AbortSignal.timeout(requestTimeoutMs),
  });
  return await parseAnswer(path, response, schema);
}

export async function readAsset(stack: StackFile, fileId: string): Promise<Asset> {
  return await read(stack, `/v1/assets/${fileId}`, Asset);
}

/** The whole history, oldest first. */
export async function readHistory(stack: StackFile, fileId: string): Promise<HistoryEntry[]> {
  const entries: HistoryEntry[] = [];
  let cursor: string | null = null;
  do {
    const query: string = cursor === null ? "" : `?cursor=${encodeURIComponent(cursor)}`;
    const page: z.infer<typeof HistoryPage> = await read(stack, `/v1/assets/${fileId}/history${query}`, HistoryPage);
    entries.push(...page.entries);
    cursor = page.cursor;
  } while (cursor !== null);
  return entries.sort((a, b) => a.revision - b.revision);
}

/** One socket until it closes; answers whether the caller has seen enough. */
async function readSocket(
  stack: StackFile,
  fileId: string,
  onFrame: (frame: StatusFrame) => boolean,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const url = `${stack.api.replace(/^http/, "ws")}/v1/assets/${fileId}/status`;
  const socket = new WebSocket(url, {
    headers: { authorization: `Bearer ${stack.tokens.viewer}` },
    handshakeTimeout: requestTimeoutMs,
  });
  const leave = () => socket.terminate();
  signal?.addEventListener("abort", leave);
  return await new Promise((resolve, reject) => {
    let enough = false;
    socket.on("message", (data) => {
      const frame = StatusFrame.safeParse(JSON.parse(String(data)));
      if (frame.success && onFrame(frame.data)) {
        enough = true;
        socket.close();
      }
    });
    socket.on("close", () => {
      signal?.removeEventListener("abort", leave);
      resolve(enough);
    });
    socket.on("unexpected-response", (_request, response) => {
      const { statusCode } = response;
      socket.terminate();
      if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
        reject(new ApiError("the status socket was refused", statusCode, "REFUSED", "see the worker's log"));
      } else resolve(false);
    });
    // A close follows, and a close means: try again.
    socket.on("error", () => undefined);
  });
}

/**
 * Follows an asset through as many sockets as it takes: a reload or a crash of the worker closes them with 1006.
 * @param onFrame answers true when it has seen enough
 * @param signal ends it, too
 * @throws ApiError when the socket is refused, Error when nothing new was heard for `silenceMs`
 */
export async function followStatus(
  stack: StackFile,
  fileId: string,
  silenceMs: number,
  onFrame: (frame: StatusFrame) => boolean,
  signal?: AbortSignal,
): Promise<void> {
  let heardAtMs = performance.now();
  const watched = (frame: StatusFrame) => {
    if (frame.type !== "snapshot") heardAtMs = performance.now();
    return onFrame(frame);
  };
  const follow = async () => {
    while (!(await readSocket(stack, fileId, watched, signal)) && !signal?.aborted) await sleep(reconnectMs);
  };
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setInterval(() => {
      if (performance.now() - heardAtMs > silenceMs) {
        reject(new Error(`nothing has changed for ${Math.round(silenceMs / 60_000)} minutes`));
      }
    }, 1_000);
  });
  try {
    await Promise.race([follow(), silence]);
  } finally {
    clearInterval(timer);
  }
}
