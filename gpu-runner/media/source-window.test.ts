/** The reader's connections: kept from read to read, and gone wherever a body was not read to its end. */
import { randomBytes } from "node:crypto";
import { createServer, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { closeServer, listenOnLoopback } from "../loopback.ts";
import { type Certificate, selfSigned, trust } from "../testing/self-signed.ts";
import { parseRange } from "./range-server.ts";
import { SourceReader, type SourceReaderOptions } from "./source-window.ts";

const content = randomBytes(1_000_000);
const never = new AbortController().signal;
/** Longer than any socket's buffers: who does not read it is noticed by who sends it. */
const endless = Buffer.alloc(1024 * 1024);

let server: Server;
let reader: SourceReader;
let connections: Socket[];
let waits: number[];

afterEach(async () => {
  reader.close();
  await closeServer(server);
});

async function readerOf(
  handle: RequestListener,
  changes: Partial<SourceReaderOptions> = {},
  certificate?: Certificate,
): Promise<void> {
  connections = [];
  waits = [];
  server = certificate ? createSecureServer(certificate, handle) : createServer(handle);
  server.on("connection", (socket: Socket) => connections.push(socket));
  const origin = `${certificate ? "https" : "http"}://127.0.0.1:${await listenOnLoopback(server)}`;
  const location = { url: `${origin}/original?signature=secret`, sizeBytes: content.length };
  reader = new SourceReader({
    location,
    freshUrl: async () => location,
    stallTimeoutMs: 10_000,
    maxFruitlessTries: 3,
    sleep: async (ms) => void waits.push(ms),
    ...changes,
  });
}

const serve: RequestListener = (request, response) => {
  const range = parseRange(request.headers.range, content.length);
  if (range === null || range === "unsatisfiable") throw new Error("every read asks for a range that there is");
  const { from, to } = range;
  response.writeHead(206, { "content-range": `bytes ${from}-${to}/${content.length}` });
  response.end(content.subarray(from, to + 1));
};

function sendForEver(response: ServerResponse): void {
  const send = () => {
    while (response.write(endless));
    response.once("drain", send);
  };
  send();
}

/** What the first request is answered, and the rest as they should be. */
function first(answer: RequestListener): RequestListener {
  let requests = 0;
  return (request, response) => (++requests === 1 ? answer : serve)(request, response);
}

async function expectRead(from: number, to: number): Promise<void> {
  expect(content.subarray(from, to + 1).equals(await reader.read(from, to, never))).toBe(true);
}

/** Also where it was reset. */
async function expectClosed(socket: Socket | undefined): Promise<void> {
  if (socket && !socket.closed) await new Promise((resolve) => socket.once("close", resolve));
}

test("reads in sequence go over one connection, which ends with the reader", async () => {
  await readerOf(serve);
  for (const from of [0, 300_000, 600_000]) await expectRead(from, from + 299_999);
  expect(connections).toHaveLength(1);
  reader.close();
  await expectClosed(connections[0]);
  expect(reader.counts).toEqual({ bytes: 900_000, retries: 0, freshUrls: 0 });
});

test("a kept connection that the store closes as it is used again costs another one, and no wait", async () => {
  const used = new Set<Socket>();
  await readerOf((request, response) => {
    if (used.has(request.socket)) request.socket.resetAndDestroy();
    else serve(request, response);
    used.add(request.socket);
  });
  await expectRead(0, 99);
  await expectRead(100, 199);
  expect({ connections: connections.length, waits, retries: reader.counts.retries }).toEqual({
    connections: 2,
    waits: [],
    retries: 1,
  });
});

test("a store that hangs up on new connections is waited for", async () => {
  await readerOf(first((request) => request.socket.resetAndDestroy()));
  await expectRead(0, 99);
  expect(waits).toEqual([250]);
});

describe("the rest of a body is not waited for, nor its connection used again:", () => {
  const asked = { "content-range": `bytes 0-99/${content.length}` };

  test.each([
    ["an outage's page", 503, {}],
    ["a refusal", 403, {}],
    ["more than the range that was asked for", 206, asked],
  ] as const)("%s", async (_name, status, headers) => {
    await readerOf(
      first((_request, response) => {
        response.writeHead(status, headers).write(content.subarray(0, 100));
        sendForEver(response);
      }),
    );
    await expectRead(0, 99);
    await expectClosed(connections[0]);
    await expectRead(100, 199);
    expect(connections).toHaveLength(2);
  });
});

test("a redirect is an answer like any other, and is not followed", async () => {
  const asked: (string | undefined)[] = [];
  await readerOf((request, response) => {
    asked.push(request.url);
    response.writeHead(302, { location: "/elsewhere" }).end();
  });
  await expect(reader.read(0, 99, never)).rejects.toMatchObject({
    code: "WASABI_UNAVAILABLE",
    message: "The original could not be read: the store answered 302.",
  });
  expect(new Set(asked)).toEqual(new Set(["/original?signature=secret"]));
});

test.each(["before its headers", "within its body"])("a store that falls silent %s has stalled", async (when) => {
  const silent: RequestListener = (_request, response) => {
    if (when === "before its headers") return;
    response.writeHead(206, { "content-range": `bytes 0-99/${content.length}` }).flushHeaders();
  };
  await readerOf(silent, { stallTimeoutMs: 50 });
  await expect(reader.read(0, 99, never)).rejects.toMatchObject({
    code: "WASABI_UNAVAILABLE",
    message: "The original could not be read: the store stopped answering.",
  });
  await Promise.all(connections.map(expectClosed));
});

test("a store that is slow, and does not fall silent, has not stalled", async () => {
  await readerOf(
    async (_request, response) => {
      response.writeHead(206, { "content-range": `bytes 0-29/${content.length}` });
      for (let at = 0; at < 30; at++) {
        response.write(content.subarray(at, at + 1));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      response.end();
    },
    { stallTimeoutMs: 1_000 },
  );
  await expectRead(0, 29);
  expect(reader.counts).toEqual({ bytes: 30, retries: 0, freshUrls: 0 });
});

test("a read that is called off ends at once, for the caller's own reason, and so does its connection", async () => {
  const stop = new AbortController();
  const reason = new Error("the job was stopped");
  await readerOf(() => stop.abort(reason));
  await expect(reader.read(0, 99, stop.signal)).rejects.toBe(reason);
  await expectClosed(connections[0]);
  await expect(reader.read(0, 99, stop.signal)).rejects.toBe(reason);
  expect(connections).toHaveLength(1);
});

describe("over TLS", () => {
  test("the bytes arrive, over one connection", async () => {
    const certificate = selfSigned();
    await readerOf(serve, {}, certificate);
    const distrust = trust(certificate);
    await expectRead(0, 499_999).finally(distrust);
    await expectRead(500_000, 999_999);
    expect(connections).toHaveLength(1);
  });

  test("nothing is read from a store whose certificate nobody vouches for", async () => {
    await readerOf(serve, {}, selfSigned());
    await expect(reader.read(0, 99, never)).rejects.toMatchObject({
      code: "WASABI_UNAVAILABLE",
      message: "The original could not be read: the connection failed.",
    });
    expect(reader.counts.bytes).toBe(0);
  });
});
