/** A store that serves one file by ranges, and misbehaves on demand. */
import { open, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { closeServer, listenOnLoopback } from "../../loopback.ts";
import { parseRange } from "../range-server.ts";
import type { SourceLocation } from "../source-window.ts";

export type OriginFaults = {
  /** Drop the connection after this many bytes of each of the first `cuts` bodies. */
  cutAfterBytes?: number;
  cuts?: number;
  /** Refuse a signature once this many requests were made with it. */
  requestsPerSignature?: number;
  /** Answer this instead, while it returns a status. */
  status?: (request: number) => number | null;
  /** Refuse as S3 does: with a status, and a code and a message in XML. */
  refusal?: (request: number) => { status: number; code: string; message?: string } | null;
  /** Send headers and half of the body, then nothing. */
  stalls?: number;
};

export type OriginServer = {
  location: () => Promise<SourceLocation>;
  requests: () => number;
  signatures: () => number;
  etag: string;
  /** Of bodies, as they left. */
  sentBytes: () => number;
  close: () => Promise<void>;
};

export async function startOrigin(file: string, faults: OriginFaults = {}): Promise<OriginServer> {
  const { size } = await stat(file);
  const handle = await open(file);
  const etag = '"0123456789abcdef0123456789abcdef"';
  const used = new Map<string, number>();
  let requests = 0;
  let sentBytes = 0;
  let cutsLeft = faults.cuts ?? 0;
  let stallsLeft = faults.stalls ?? 0;

  async function answer(request: IncomingMessage, response: ServerResponse) {
    requests++;
    const signature = new URL(request.url ?? "/", "http://origin").searchParams.get("signature") ?? "";
    const uses = (used.get(signature) ?? 0) + 1;
    used.set(signature, uses);
    const status = faults.status?.(requests) ?? null;
    if (status !== null) return void response.writeHead(status).end("refused");
    const refusal = faults.refusal?.(requests) ?? null;
    if (refusal !== null) {
      const message = refusal.message ?? `see ${request.url}`;
      const xml = `<?xml version="1.0"?><Error><Code>${refusal.code}</Code><Message>${message}</Message></Error>`;
      return void response.writeHead(refusal.status, { "content-type": "application/xml" }).end(xml);
    }
    if (uses > (faults.requestsPerSignature ?? Number.POSITIVE_INFINITY)) return void response.writeHead(403).end();
    if (request.headers["if-match"] !== undefined && request.headers["if-match"] !== etag) {
      return void response.writeHead(412).end();
    }
    const range = parseRange(request.headers.range, size);
    if (range === null || range === "unsatisfiable") return void response.writeHead(416).end();
    const bytes = Buffer.alloc(range.to - range.from + 1);
    await handle.read(bytes, 0, bytes.length, range.from);
    const headers = { "content-range": `bytes ${range.from}-${range.to}/${size}`, "content-length": bytes.length };
    response.writeHead(206, { ...headers, etag });
    sentBytes += bytes.length;
    if (cutsLeft > 0 && bytes.length > (faults.cutAfterBytes ?? 0)) {
      cutsLeft--;
      return void response.write(bytes.subarray(0, faults.cutAfterBytes), () => response.destroy());
    }
    if (stallsLeft > 0) {
      stallsLeft--;
      return void response.write(bytes.subarray(0, bytes.length / 2));
    }
    response.end(bytes);
  }

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  const port = await listenOnLoopback(server);
  let signatures = 0;
  return {
    location: async () => ({
      url: `http://127.0.0.1:${port}/original.mov?signature=secret-${++signatures}`,
      etag,
      sizeBytes: size,
    }),
    requests: () => requests,
    signatures: () => signatures,
    etag,
    sentBytes: () => sentBytes,
    close: async () => {
      await closeServer(server);
      await handle.close();
    },
  };
}
