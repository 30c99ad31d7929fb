import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lengthOf, readSparse } from "./sparse-file.ts";

const whole = randomBytes(300_000);
const ranges = [
  { from: 0, to: 99 },
  { from: 5_000, to: 150_000 },
  { from: 299_999, to: 299_999 },
];
let folder: string;
let server: Server | null = null;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mmf-sparse-"));
});
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  await rm(folder, { recursive: true, force: true });
});

async function serve(listener: RequestListener): Promise<string> {
  const started = createServer(listener);
  server = started;
  await new Promise<void>((resolve) => started.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(started.address() as AddressInfo).port}/original.mov`;
}

/** @param bend changes the bytes of an answer, not what its headers say */
const origin =
  (bend: (bytes: Buffer) => Buffer): RequestListener =>
  (request, response) => {
    const [, from = "", to = ""] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (request.headers["if-match"] !== '"abc"') {
      response.writeHead(412).end();
      return;
    }
    response.writeHead(206, { "content-range": `bytes ${from}-${to}/${whole.length}` });
    response.end(bend(whole.subarray(Number(from), Number(to) + 1)));
  };

async function read(url: string, etag = "abc"): Promise<number> {
  let bytes = 0;
  const onBytes = (count: number) => {
    bytes += count;
  };
  const source = { url, sizeBytes: whole.length, etag };
  await readSparse(source, join(folder, "part"), ranges, { onBytes, signal: AbortSignal.timeout(10_000) });
  return bytes;
}

test("the ranges lie in their places, and zeros everywhere else", async () => {
  expect(await read(await serve(origin((bytes) => bytes)))).toBe(lengthOf(ranges));
  const expected = Buffer.alloc(whole.length);
  for (const { from, to } of ranges) whole.copy(expected, from, from, to + 1);
  expect((await readFile(join(folder, "part"))).equals(expected)).toBe(true);
  expect(await readdir(folder)).toEqual(["part"]);
});

test.each<[string, RequestListener, RegExp]>([
  ["fewer bytes", origin((bytes) => bytes.subarray(1)), /ended at/],
  ["more bytes", origin((bytes) => Buffer.concat([bytes, bytes])), /sent more/],
  ["the whole file", (_request, response) => void response.writeHead(200).end(whole), /HTTP 200 to bytes/],
  ["an error", (_request, response) => void response.writeHead(403).end("expired"), /HTTP 403 to bytes/],
])("%s instead of the ranges is an error", async (_what, listener, message) => {
  await expect(read(await serve(listener))).rejects.toThrow(message);
});

test("an original that was replaced is an error", async () => {
  await expect(read(await serve(origin((bytes) => bytes)), "another")).rejects.toThrow("HTTP 412 to bytes");
});
