/**
 * Stands before Wasabi and pretends that some originals of 100 GB lie there, whose parts are copied as slowly as a busy
 * store copies them. Everything else goes through.
 */
import { createServer, request as httpRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

export const bulkMark = "bench-bulk";
export const bulkBytes = 100_000_000_000;
const etag = `"${"b".repeat(32)}"`;

export interface BulkStore {
  /** Parts that are being copied, and that were. */
  parts: { under: number; done: number };
  close(): Promise<void>;
}

export async function startBulkStore(options: {
  port: number;
  targetPort: number;
  partMs: number;
}): Promise<BulkStore> {
  const parts = { under: 0, done: 0 };
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? "/", "http://store");
    if (!url.pathname.includes(bulkMark)) {
      const { method, headers } = request;
      const through = httpRequest({ host: "127.0.0.1", port: options.targetPort, path: request.url, method, headers });
      through.on("response", (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      through.on("error", () => response.destroy());
      request.pipe(through);
      return;
    }
    request.resume();
    if (request.method === "HEAD" && url.pathname.includes("/incoming/")) {
      response.writeHead(200, { etag, "content-length": String(bulkBytes) }).end();
      return;
    }
    if (request.method === "HEAD") {
      response.writeHead(404).end();
      return;
    }
    if (request.method === "POST" && url.searchParams.has("uploads")) {
      response.end(`<InitiateMultipartUploadResult><UploadId>${bulkMark}-1</UploadId></InitiateMultipartUploadResult>`);
      return;
    }
    if (request.method === "PUT" && url.searchParams.has("partNumber")) {
      parts.under += 1;
      await sleep(options.partMs);
      parts.under -= 1;
      parts.done += 1;
      response.end(`<CopyPartResult><ETag>${etag}</ETag></CopyPartResult>`);
      return;
    }
    if (request.method === "GET") {
      // What a HEAD's bare 404 meant.
      response.writeHead(404, { "content-type": "application/xml" }).end("<Error><Code>NoSuchKey</Code></Error>");
      return;
    }
    response.writeHead(204).end();
  });
  await new Promise<void>((resolve) => server.listen(options.port, "127.0.0.1", resolve));
  return {
    parts,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
