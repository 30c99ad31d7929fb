/** A real HTTP source that misbehaves on request: each connection takes the next fault, and none once they run out. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Fault =
  | { kind: "cut"; afterBytes: number }
  | { kind: "short"; byBytes: number }
  | { kind: "status"; status: number; body?: string }
  | { kind: "html" }
  | { kind: "garble"; at: number }
  | { kind: "total"; sizeBytes: number }
  | { kind: "silent"; afterBytes: number };

export interface OriginServer {
  url: string;
  /** Range headers in the order they came. */
  ranges: string[];
  faults: Fault[];
  /** Requests without this query parameter get 403, like an expired presigned URL. */
  requiredSignature: string | null;
  bytesPerSecond: number | null;
  /** What the object is labelled with; its bytes stay as they are. */
  contentEncoding: string | null;
  stop(): Promise<void>;
}

export async function startOrigin(bytes: Buffer, etag = "abc123"): Promise<OriginServer> {
  const origin: OriginServer = {
    url: "",
    ranges: [],
    faults: [],
    requiredSignature: null,
    bytesPerSecond: null,
    contentEncoding: null,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer((request, response) => {
    void answer(request, response, bytes, etag, origin);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/object`;
  return origin;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Buffer,
  etag: string,
  origin: OriginServer,
): Promise<void> {
  const range = request.headers.range ?? "";
  origin.ranges.push(range);
  const signature = new URL(request.url ?? "/", origin.url).searchParams.get("X-Amz-Signature");
  if (origin.requiredSignature !== null && signature !== origin.requiredSignature) {
    return void response
      .writeHead(403)
      .end("<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>");
  }
  const pinned = request.headers["if-match"];
  if (pinned !== undefined && pinned !== `"${etag}"`) return void response.writeHead(412).end();
  const fault = origin.faults.shift();
  if (fault?.kind === "status") return void response.writeHead(fault.status).end(fault.body);
  if (fault?.kind === "html") {
    return void response.writeHead(200, { "content-type": "text/html" }).end("<html>Sign in to the Wi-Fi</html>");
  }
  const [from = 0, to = bytes.length - 1] = (/^bytes=(\d+)-(\d+)$/.exec(range) ?? []).slice(1).map(Number);
  let body = Buffer.from(bytes.subarray(from, to + 1));
  const total = fault?.kind === "total" ? fault.sizeBytes : bytes.length;
  response.setHeader("etag", `"${etag}"`);
  if (origin.contentEncoding !== null) response.setHeader("content-encoding", origin.contentEncoding);
  response.setHeader("content-range", `bytes ${from}-${to}/${total}`);
  if (fault?.kind === "garble") body.writeUInt8((body.readUInt8(fault.at) + 1) % 256, fault.at);
  if (fault?.kind === "short") body = body.subarray(0, body.length - fault.byBytes);
  else response.setHeader("content-length", body.length);
  response.writeHead(206);
  if (fault?.kind === "cut" || fault?.kind === "silent") {
    response.write(body.subarray(0, fault.afterBytes), () => {
      // Past the kernel's buffers, so that the bytes do arrive before the reset.
      if (fault.kind === "cut") setTimeout(() => request.socket.destroy(), 50);
    });
    return;
  }
  if (origin.bytesPerSecond === null) return void response.end(body);
  const step = Math.ceil(origin.bytesPerSecond / 20);
  for (let offset = 0; offset < body.length && !response.destroyed; offset += step) {
    response.write(body.subarray(offset, offset + step));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  response.end();
}
