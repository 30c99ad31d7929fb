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
  /** What a listing of open uploads shows, two to a page; an abortion takes its own out. */
  uploads: { key: string; uploadId: string; initiatedAt: string }[];
  /** Whether a listing says that its keys are encoded. */
  saysEncoding: boolean;
  /** Answers a page of the listing instead, from 1; null answers truthfully. */
  listing: ((page: number) => Response | null) | null;
  /** What every request answers with instead; null answers truthfully. */
  broken: number | null;
}

export const xml = (code: string, status: number) =>
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
    uploads: [],
    saysEncoding: true,
    listing: null,
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
  if (request.method === "GET" && url.searchParams.has("uploads")) return uploadPage(stub, url.searchParams);
  if (request.method === "DELETE") {
    const uploadId = url.searchParams.get("uploadId") ?? "";
    const isThere = stub.uploads.some((upload) => upload.uploadId === uploadId && upload.key === key);
    if (!isThere && stub.uploads.some((upload) => upload.uploadId === uploadId)) return xml("NoSuchUpload", 404);
    stub.aborted.push(uploadId);
    stub.uploads = stub.uploads.filter((upload) => upload.uploadId !== uploadId);
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

const uploadsPerPage = 2;

/** As S3 answers with `encoding-type=url`; or as Ceph does, which encodes keys, does not say so, and leaves markers plain. */
function uploadPage({ uploads, listing, saysEncoding }: WasabiStub, query: URLSearchParams): Response {
  const below = uploads.filter(({ key }) => key.startsWith(query.get("prefix") ?? ""));
  const after = query.get("upload-id-marker");
  const from = after === null ? 0 : below.findIndex(({ uploadId }) => uploadId === after) + 1;
  const scripted = listing?.(from / uploadsPerPage + 1) ?? null;
  if (scripted !== null) return scripted;
  const page = below.slice(from, from + uploadsPerPage);
  const last = page.at(-1);
  const more = from + page.length < below.length && last !== undefined;
  const encoded = (key: string) => encodeURIComponent(key).replaceAll("%20", "+");
  const next = more
    ? `<NextKeyMarker>${saysEncoding ? encoded(last.key) : last.key}</NextKeyMarker><NextUploadIdMarker>${last.uploadId}</NextUploadIdMarker>`
    : "";
  const said = saysEncoding ? "<EncodingType>url</EncodingType>" : "";
  const rows = page.map(
    ({ key, uploadId, initiatedAt }) =>
      `<Upload><Key>${encoded(key)}</Key><UploadId>${uploadId}</UploadId><Initiated>${initiatedAt}</Initiated></Upload>`,
  );
  return new Response(
    `<?xml version="1.0"?>\n<ListMultipartUploadsResult>${said}<IsTruncated>${more}</IsTruncated>` +
      `${next}${rows.join("")}</ListMultipartUploadsResult>\n`,
  );
}
