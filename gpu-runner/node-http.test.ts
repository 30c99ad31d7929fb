/** Whatever a read brought is let go of at once: collections that come for its sake cost more than reading it does. */
import { createHash, randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { closeServer, listenOnLoopback } from "./loopback.ts";
import { eachPiece, type KeptConnections, keepConnections, openRequest, responseOf } from "./node-http.ts";
import { type Certificate, selfSigned, trust } from "./testing/self-signed.ts";

const bodyBytes = 16 * 1024 * 1024;
/** What is still on its way from one end of the process to the other. */
const inPassingBytes = 2 * 1024 * 1024;

let certificate: Certificate;
let connections: KeptConnections;
let distrust: () => void;

beforeAll(async () => {
  certificate = selfSigned();
});
beforeEach(() => {
  connections = keepConnections(10_000);
  distrust = trust(certificate);
});
afterEach(() => {
  distrust();
  connections.close();
});

async function readBody(url: string, take: (piece: Uint8Array) => unknown): Promise<void> {
  const request = openRequest(url, { method: "GET", headers: {}, connections });
  const arrival = responseOf(request);
  request.end();
  await eachPiece(await arrival, take);
}

test.each(["http", "https"] as const)("a body over %s leaves no memory behind", async (protocol) => {
  const body = randomBytes(bodyBytes);
  const server: Server = protocol === "http" ? createServer() : createSecureServer(certificate);
  server.on("request", (_request, response) => response.end(body));
  const url = `${protocol}://127.0.0.1:${await listenOnLoopback(server)}/`;
  try {
    await readBody(url, () => undefined);
    const before = process.memoryUsage().arrayBuffers;
    const digest = createHash("sha256");
    await readBody(url, (piece) => digest.update(piece));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(inPassingBytes);
    expect(digest.digest("hex")).toBe(createHash("sha256").update(body).digest("hex"));
  } finally {
    await closeServer(server);
  }
});

test("a kept connection is listened to no more than it was before", async () => {
  const server = createServer((_request, response) => response.end("some bytes"));
  const url = `http://127.0.0.1:${await listenOnLoopback(server)}/`;
  const listeners: number[] = [];
  try {
    for (let round = 0; round < 3; round++) {
      const request = openRequest(url, { method: "GET", headers: {}, connections });
      const arrival = responseOf(request);
      request.end();
      const response = await arrival;
      const { socket } = response;
      await eachPiece(response, () => undefined);
      await new Promise((resolve) => setImmediate(resolve));
      expect(request.reusedSocket).toBe(round > 0);
      listeners.push(socket.listenerCount("data"));
    }
    expect(listeners).toEqual([listeners[0], listeners[0], listeners[0]]);
  } finally {
    await closeServer(server);
  }
});
