/** `node:http` and `node:https` under one roof, for bytes in bulk: fetch's streams take about twice the processor time. */
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { dropMemory } from "./dropped-memory.ts";

export type Outgoing = {
  method: "GET" | "PUT";
  headers: Readonly<Record<string, string | number>>;
  signal?: AbortSignal;
  /** Node's own without them. */
  connections?: KeptConnections;
};

/** Connections that outlive a request. They belong to whoever made them, and end with `close`. */
export type KeptConnections = { readonly http: HttpAgent; readonly https: HttpsAgent; close: () => void };

export function keepConnections(idleMs: number): KeptConnections {
  const options = { keepAlive: true, timeout: idleMs };
  const http = new HttpAgent(options);
  const https = new HttpsAgent(options);
  const close = () => {
    http.destroy();
    https.destroy();
  };
  return { http, https, close };
}

/** Follows no redirect. Throws on an address that is none. */
export function openRequest(url: string, { connections, ...options }: Outgoing): ClientRequest {
  const secure = new URL(url).protocol === "https:";
  const agent = secure ? connections?.https : connections?.http;
  const send = secure ? httpsRequest : httpRequest;
  return send(url, { ...options, ...(agent === undefined ? {} : { agent }) });
}

/** Call it before anything else happens to the request. Rejects when there is no answer. */
export function responseOf(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once("response", resolve);
    // It may fail again after the answer.
    request.on("error", reject);
    request.once("close", () => reject(new Error("the connection was closed")));
  });
}

/** Resolves at the end of the body; rejects when it is cut before. A piece's memory is gone soon after it was taken. */
export function eachPiece(response: IncomingMessage, take: (piece: Uint8Array) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    if (response.destroyed) reject(new Error("the body was cut"));
    const { socket } = response;
    // What it reads the parser copies into pieces, before this is called.
    socket.on("data", dropMemory);
    response.once("close", () => socket.off("data", dropMemory));
    response.on("data", (piece: Uint8Array) => {
      take(piece);
      // Not now: the parser is still at work on the rest of what was read.
      process.nextTick(dropMemory, piece);
    });
    response.once("end", resolve);
    response.on("error", reject);
    response.once("close", () => reject(new Error("the body was cut")));
  });
}

export function headersOf(response: IncomingMessage): Headers {
  const headers = new Headers();
  for (const [name, values] of Object.entries(response.headersDistinct)) {
    for (const value of values ?? []) headers.append(name, value);
  }
  return headers;
}
