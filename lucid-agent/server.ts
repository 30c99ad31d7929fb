/** node:http in front of the router: bounded bodies, request ids, problem+json for what was thrown, one line a request. */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Logger } from "pino";
import { asRefusal, problemResponse, Refusal } from "./problem.ts";

const maxBodyBytes = 64 * 1024;

export function createHttpServer(route: (request: Request) => Promise<Response>, log: Logger): Server {
  const server = createServer((incoming, outgoing) => {
    void serve(incoming, outgoing, route, log);
  });
  server.headersTimeout = 10_000;
  server.requestTimeout = 30_000;
  server.keepAliveTimeout = 5_000;
  server.maxHeadersCount = 64;
  return server;
}

async function serve(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  route: (request: Request) => Promise<Response>,
  log: Logger,
): Promise<void> {
  const requestId = randomUUID();
  const startedAtMs = performance.now();
  const response = await answer(incoming, route, requestId, log);
  const body = Buffer.from(await response.arrayBuffer());
  outgoing.writeHead(response.status, {
    ...Object.fromEntries(response.headers),
    "content-length": body.length,
    "cache-control": "no-store",
    "x-request-id": requestId,
    // The rest of a refused body is not waited for.
    ...(incoming.complete ? {} : { connection: "close" }),
  });
  outgoing.end(body);
  const path = (incoming.url ?? "/").split("?")[0];
  const facts = { requestId, method: incoming.method, path, status: response.status };
  const level = path === "/healthz" && response.ok ? "debug" : "info";
  log[level]({ ...facts, durationMs: Math.round(performance.now() - startedAtMs) }, "request");
}

async function answer(
  incoming: IncomingMessage,
  route: (request: Request) => Promise<Response>,
  requestId: string,
  log: Logger,
): Promise<Response> {
  try {
    return await route(await requestOf(incoming));
  } catch (thrown) {
    const refusal = asRefusal(thrown);
    if (refusal.status >= 500) log.error({ requestId, code: refusal.code, err: refusal.cause ?? thrown }, "refused");
    return problemResponse(refusal, requestId);
  }
}

async function requestOf(incoming: IncomingMessage): Promise<Request> {
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(", ") : value);
  }
  const method = incoming.method ?? "GET";
  // Only the path and query count; the host is not trusted.
  const url = URL.parse(`http://agent.invalid${incoming.url ?? "/"}`);
  if (url === null) throw new Refusal("BAD_REQUEST", "The address is not valid.");
  // Also where it is not wanted: its limit holds for every route.
  const body = await readBody(incoming);
  return method === "PUT"
    ? new Request(url, { method, headers, body })
    : new Request(url, { method: requestMethod(method), headers });
}

/** Request refuses some methods outright; they get the router's 405 under a name it takes. */
function requestMethod(method: string): string {
  return ["CONNECT", "TRACE", "TRACK"].includes(method) ? "OPTIONS" : method;
}

async function readBody(incoming: IncomingMessage): Promise<Buffer<ArrayBuffer>> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of incoming as AsyncIterable<Buffer>) {
      sizeBytes += chunk.length;
      if (sizeBytes > maxBodyBytes) {
        throw new Refusal("PAYLOAD_TOO_LARGE", `The body may hold ${maxBodyBytes} bytes at most.`);
      }
      chunks.push(chunk);
    }
  } catch (cause) {
    // Who hangs up in mid-body is no trouble of the agent's.
    throw cause instanceof Refusal
      ? cause
      : new Refusal("BAD_REQUEST", "The body broke off before its end.", { cause });
  }
  return Buffer.concat(chunks);
}
