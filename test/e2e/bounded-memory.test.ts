/**
 * Rule 6: no object is ever buffered whole. A file larger than a worker's 128 MB is brought in from a URL; the worker's
 * process must not grow by what a buffered copy would take.
 */
import { readFileSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { basename } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newFileId, originalKeyOf, type PipelineClient, type Upload } from "./pipeline-client.ts";
import { StackProcess } from "./stack-process.ts";

const mebibyte = 1024 * 1024;
const sizeBytes = 256 * mebibyte;
/** Well under the file, well over what parts in flight need. */
const allowedGrowthBytes = 128 * mebibyte;
const block = Buffer.alloc(mebibyte, "camera original ");

let stack: StackProcess;
let client: PipelineClient;
let files: Server;

beforeAll(async () => {
  stack = await StackProcess.start({ flags: ["--no-runner", "--no-agent"] });
  client = await stack.client();
  files = createServer((request, response) => void serve(request.headers.range, response));
  await new Promise<void>((resolve) => files.listen(0, "127.0.0.1", resolve));
});

afterAll(async () => {
  files.close();
  await stack.destroy();
});

/** Ranges of a file that exists nowhere: the same mebibyte again and again. */
async function serve(range: string | undefined, response: ServerResponse): Promise<void> {
  const [, first = "0", last = ""] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
  const from = Number(first);
  const to = last === "" ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  response.writeHead(range === undefined ? 200 : 206, {
    etag: '"still-the-same"',
    "accept-ranges": "bytes",
    "content-length": to - from + 1,
    ...(range === undefined ? {} : { "content-range": `bytes ${from}-${to}/${sizeBytes}` }),
  });
  // A reader that goes away half-way is no fault of the server.
  await pipeline(Readable.from(blocks(from, to)), response).catch(() => undefined);
}

function* blocks(from: number, to: number): Generator<Buffer> {
  for (let at = from; at <= to; ) {
    const offset = at % block.length;
    const piece = block.subarray(offset, Math.min(block.length, offset + to - at + 1));
    at += piece.length;
    yield piece;
  }
}

/** The most memory that the worker's workerd has had resident so far. */
async function peakBytes(): Promise<number> {
  const { processes } = await stack.child("worker");
  const workerd = processes.find(({ command }) => basename(command[0] ?? "") === "workerd");
  if (workerd === undefined) throw new Error("the worker has no workerd");
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${workerd.pid}/status`, "utf8"))?.[1];
  return Number(peak) * 1024;
}

test("an original larger than a worker's memory is brought in without being held", async () => {
  const before = await peakBytes();
  const named = { fileId: newFileId(), clientName: "acme", projectName: "launch-film", fileName: "large.mov" };
  const url = `http://127.0.0.1:${(files.address() as AddressInfo).port}/large.mov`;
  const upload: Upload = { ...named, sizeBytes, source: { kind: "url", url } };
  expect((await client.sendWebhook(upload)).status).toBe(202);
  const asset = await client.followTo(upload.fileId, "archived", 240_000);
  expect(asset.original?.sizeBytes).toBe(sizeBytes);
  expect((await client.headWasabi(originalKeyOf(named)))?.sizeBytes).toBe(sizeBytes);
  expect((await peakBytes()) - before).toBeLessThan(allowedGrowthBytes);
});
