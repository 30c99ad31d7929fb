/** A server of an uploader's own: one file at one address, whole or by range; or a page, where a file should be. */

import { once } from "node:events";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";

export type Origin = { port: number; close(): Promise<void> };

const etag = '"as-it-was-shot"';
const page = "<!doctype html><title>Sign in</title><p>Sign in to download A001.mov.</p>";

/** @param path null: whoever asks gets a web page */
export async function openOrigin(path: string | null): Promise<Origin> {
  const server = createServer((request, response) => {
    const answered = path === null ? answerPage(response) : answerFile(path, request.headers.range, response);
    // A reader that goes away half-way is no fault of the server.
    answered.catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answerPage(response: ServerResponse): Promise<void> {
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page);
}

async function answerFile(path: string, range: string | undefined, response: ServerResponse): Promise<void> {
  const { size } = await stat(path);
  const match = /^bytes=(\d+)-(\d*)$/.exec(range ?? "");
  const start = Number(match?.[1] ?? 0);
  const end = match === null || match[2] === "" ? size - 1 : Math.min(size - 1, Number(match[2]));
  response.writeHead(match === null ? 200 : 206, {
    etag,
    "accept-ranges": "bytes",
    "content-type": "video/quicktime",
    "content-length": end - start + 1,
    ...(match === null ? {} : { "content-range": `bytes ${start}-${end}/${size}` }),
  });
  await pipeline(createReadStream(path, { start, end }), response);
}
