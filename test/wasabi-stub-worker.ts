/** A stand-in for Wasabi at the network's edge: objects in memory, ranges and If-Match as S3 has them, multipart ids. */
import { onTestFinished, vi } from "vitest";

export interface StoredBytes {
  bytes: Uint8Array<ArrayBuffer>;
  etag: string;
}

export interface WasabiStub {
  objects: Map<string, StoredBytes>;
  requests: string[];
  created: string[];
  aborted: string[];
  /** What every request answers with instead; null answers truthfully. */
  broken: number | null;
}

const xml = (code: string, status: number) =>
  new Response(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`, {
    status,
    headers: { "content-type": "application/xml" },
  });

/** Takes the place of `fetch` until the test ends. */
export function openWasabiStub(): WasabiStub {
  const stub: WasabiStub = {
    objects: new Map(),
    requests: [],
    created: [],
    aborted: [],
    broken: null,
  };
  const spy = vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input as RequestInfo, init as RequestInit);
    const url = new URL(request.url);
    if (url.hostname !== "s3.wasabi.test") throw new Error(`unexpected fetch of ${url.hostname}`);
    stub.requests.push(`${request.method} ${url.pathname}`);
    return stub.broken === null ? answer(stub, request, url) : new Response(null, { status: stub.broken });
  });
  onTestFinished(() => spy.mockRestore());
  return stub;
}

function answer(stub: WasabiStub, request: Request, url: URL): Response {
  const key = decodeURIComponent(url.pathname).replace(/^\/test-archive\//, "");
  if (request.method === "POST" && url.searchParams.has("uploads")) {
    const id = `upload-${stub.created.length + 1}`;
    stub.created.push(id);
    return new Response(`<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
  }
  if (request.method === "DELETE") {
    stub.aborted.push(url.searchParams.get("uploadId") ?? "");
    return new Response(null, { status: 204 });
  }
  const object = stub.objects.get(key);
  if (object === undefined)
    return request.method === "HEAD" ? new Response(null, { status: 404 }) : xml("NoSuchKey", 404);
  const { bytes, etag } = object;
  const condition = request.headers.get("if-match");
  if (condition !== null && condition !== `"${etag}"`) return xml("PreconditionFailed", 412);
  const headers = { etag: `"${etag}"`, "content-length": String(bytes.length) };
  if (request.method === "HEAD") return new Response(null, { headers });
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
  if (range === null) return new Response(bytes, { headers });
  const [from, to] = [Number(range[1]), Math.min(Number(range[2]), bytes.length - 1)];
  return new Response(bytes.slice(from, to + 1), {
    status: 206,
    headers: {
      etag: `"${etag}"`,
      "content-length": String(to - from + 1),
      "content-range": `bytes ${from}-${to}/${bytes.length}`,
    },
  });
}
