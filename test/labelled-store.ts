/**
 * A store whose every object is labelled `Content-Encoding: gzip`, rightly or not, and kept as it was put, under the ETag it
 * came with: ranges and If-Match as S3 has them. Miniflare's S3 would pack again what it is told is packed.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface LabelledStore {
  endpoint: string;
  stop(): Promise<void>;
}

export async function startLabelledStore(): Promise<LabelledStore> {
  const objects = new Map<string, Stored>();
  const server = createServer((request, response) => {
    void answer(objects, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Stored {
  bytes: Buffer;
  etag: string;
}

async function answer(objects: Map<string, Stored>, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname } = new URL(request.url ?? "/", "http://store");
  if (request.method === "PUT") {
    const bytes = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
    objects.set(pathname, { bytes, etag: `"${request.headers.etag}"` });
    return void response.writeHead(200).end();
  }
  const object = objects.get(pathname);
  if (object === undefined) return void response.writeHead(404).end("<Error><Code>NoSuchKey</Code></Error>");
  const { bytes, etag } = object;
  const condition = request.headers["if-match"];
  if (condition !== undefined && condition !== etag) return void response.writeHead(412).end();
  response.setHeader("etag", etag).setHeader("content-encoding", "gzip");
  const [from, to] = (/^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? []).slice(1).map(Number);
  if (from === undefined || to === undefined) {
    response.writeHead(200, { "content-length": bytes.length });
    return void response.end(request.method === "HEAD" ? undefined : bytes);
  }
  const part = bytes.subarray(from, to + 1);
  const contentRange = `bytes ${from}-${from + part.length - 1}/${bytes.length}`;
  response.writeHead(206, { "content-length": part.length, "content-range": contentRange }).end(part);
}
