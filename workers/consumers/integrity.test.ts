/**
 * Sources that lie, change, break off or refuse: each is caught, named by the right code, retried or failed as the table
 * says, and leaves neither an object at the target nor an open upload. Driven from outside, through the queues.
 */
import { expect, test } from "vitest";
import type { Asset } from "../../schemas/asset.ts";
import type { UploadDeclaration } from "../../schemas/event.ts";
import type { FailureCode } from "../../schemas/failure.ts";
import { type FailurePolicy, failurePolicy } from "../../schemas/failure-policy.ts";
import { originalKey, proxyKey } from "../../schemas/key.ts";
import { env, newUpload } from "../../test/door-worker.ts";
import {
  type Asked,
  bodyOf,
  content,
  type Interceptor,
  openPipeline,
  originHost,
  type Pipeline,
  type Served,
  serve,
  wasabi,
} from "../../test/pipeline-worker.ts";
import { encode } from "../../test/runner-worker.ts";
import { xml } from "../../test/wasabi-stub-worker.ts";

const sizeBytes = 100_000;
const bytes = content(sizeBytes);
const v1: Served = { bytes, etag: '"v1"' };
const v2: Served = { bytes: content(sizeBytes, 2), etag: '"v2"' };

const text = (body: string, type: string, status = 200) =>
  new Response(body, { status, headers: { "content-type": type, "content-length": String(body.length) } });
const page = "<!doctype html><title>Sign in</title>".padEnd(sizeBytes, " ");
const json = JSON.stringify({ error: "expired" }).padEnd(sizeBytes, " ");

/** An answer like a good one, with other headers. */
function altered(asked: Asked, over: Record<string, string | null>, body?: Uint8Array<ArrayBuffer>): Response {
  const good = serve(v1, asked);
  const headers = new Headers(good.headers);
  for (const [name, value] of Object.entries(over)) {
    if (value === null) headers.delete(name);
    else headers.set(name, value);
  }
  return new Response(body ?? good.body, { status: good.status, headers });
}

const isProbe = ({ headers }: Asked) => headers.get("range") === "bytes=0-0";
const unmeasured = { "content-length": null };
/** No ranges, no length: all there is to see is how many bytes come. */
const streamed = (body: Uint8Array<ArrayBuffer>) =>
  new Response(bodyOf(body), { headers: { "content-type": "application/octet-stream" } });

async function ingesting(
  origin: Interceptor,
  over: Partial<UploadDeclaration> = {},
  policy: Record<string, unknown> = {},
) {
  const upload = newUpload({ sizeBytes, source: { kind: "url", url: `https://${originHost}/a.mov` }, ...over });
  const pipeline = await openPipeline(upload.fileId, policy);
  pipeline.origin = origin;
  await pipeline.notice(upload);
  return { pipeline, key: originalKey(upload) };
}

async function expectNothingLeft(pipeline: Pipeline, key: string): Promise<void> {
  expect(await wasabi.head(key)).toBeNull();
  await expectNoUploadLeft(pipeline);
}

async function expectNoUploadLeft(pipeline: Pipeline): Promise<void> {
  await pipeline.takeAll();
  expect([...pipeline.openUploads]).toEqual([]);
  const noted = env.CATALOGUE.prepare("SELECT count(*) AS n FROM open_uploads WHERE file_id = ?").bind(pipeline.fileId);
  expect(await noted.first("n")).toBe(0);
}

const liars: [name: string, origin: Interceptor, code: FailureCode][] = [
  ["a web page", () => text(page, "text/html; charset=utf-8"), "SOURCE_REFUSED"],
  ["a web page to a ranged read", (asked) => altered(asked, { "content-type": "text/html" }), "SOURCE_REFUSED"],
  ["an API's error, as 200", () => text(json, "application/json"), "SOURCE_REFUSED"],
  ["a problem document, as 200", () => text(json, "application/problem+json"), "SOURCE_REFUSED"],
  ["a store's XML, as 200", () => text(page, "application/xml"), "SOURCE_REFUSED"],
  ["403", () => text("no", "text/plain", 403), "SOURCE_REFUSED"],
  ["410", () => text("no", "text/plain", 410), "SOURCE_REFUSED"],
  ["416", () => text("no", "text/plain", 416), "SIZE_MISMATCH"],
  ["another total size", (asked) => serve({ ...v1, bytes: content(sizeBytes + 1) }, asked), "SIZE_MISMATCH"],
  ["another Content-Length", () => serve({ ...v1, bytes: content(9) }, { headers: new Headers() }), "SIZE_MISMATCH"],
  ["a stream that is longer", () => streamed(content(sizeBytes + 1)), "SIZE_MISMATCH"],
  ["a stream that is shorter", () => streamed(content(sizeBytes - 1)), "SOURCE_UNREADABLE"],
  [
    "a range that is shorter than it says",
    (asked) => (isProbe(asked) ? serve(v1, asked) : altered(asked, unmeasured, content(sizeBytes - 1))),
    "SOURCE_UNREADABLE",
  ],
  [
    "a range that is longer than it says",
    (asked) => (isProbe(asked) ? serve(v1, asked) : altered(asked, unmeasured, content(sizeBytes + 1))),
    "SOURCE_UNREADABLE",
  ],
  [
    "another range than asked",
    (asked) => (isProbe(asked) ? serve(v1, asked) : altered(asked, { "content-range": `bytes 1-99999/${sizeBytes}` })),
    "SOURCE_UNREADABLE",
  ],
  ["206 that names no range", (asked) => altered(asked, { "content-range": null }), "SOURCE_UNREADABLE"],
  [
    "206 of another total after the first",
    (asked) => (isProbe(asked) ? serve(v1, asked) : altered(asked, { "content-range": `bytes 0-99999/100001` })),
    "SOURCE_UNREADABLE",
  ],
  ["another version to every read", (asked, n) => serve({ ...v1, etag: `"v${n}"` }, asked), "SOURCE_CHANGED"],
  [
    "another version to every read, whatever If-Match says",
    (asked, n) => serve({ ...v1, etag: `"v${n}"` }, { headers: without(asked, "if-match") }),
    "SOURCE_CHANGED",
  ],
  [
    "all of another version, whatever Range and If-Match say",
    (asked) => (isProbe(asked) ? serve(v1, asked) : serve(v2, { headers: new Headers() })),
    "SOURCE_CHANGED",
  ],
  ["500 for good", () => text("no", "text/plain", 500), "SOURCE_UNREADABLE"],
  [
    "a connection that breaks",
    () => {
      throw new TypeError("reset");
    },
    "SOURCE_UNREADABLE",
  ],
];

function without({ headers }: Asked, name: string): Headers {
  const rest = new Headers(headers);
  rest.delete(name);
  return rest;
}

test.each(liars)("a source URL that answers %s never becomes an original", async (_name, origin, code) => {
  const { pipeline, key } = await ingesting(origin);
  const asset = await pipeline.drive(({ state }) => state !== "received");
  expect(asset).toMatchObject({ state: "failed", original: null, problem: { step: "archive", code } });
  expect(asset.problem?.message).toMatch(/^The source .*\.$/);
  const policy: FailurePolicy = failurePolicy[code];
  const deferrals = await pipeline.events("StepDeferred");
  if (policy === "fatal") expect(deferrals).toEqual([]);
  else expect(deferrals.length).toBeGreaterThan(1);
  await expectNothingLeft(pipeline, key);
});

test.each([
  "http://169.254.169.254/latest/meta-data",
  "http://10.0.0.7/a.mov",
  "http://localhost:8080/a.mov",
  "http://[::1]/a.mov",
  "file:///etc/passwd",
  "https://media.test/v1/assets",
])("a redirect to %s is not followed", async (location) => {
  const { pipeline, key } = await ingesting(() => new Response(null, { status: 302, headers: { location } }));
  const asset = await pipeline.drive(({ state }) => state !== "received");
  expect(asset).toMatchObject({ state: "failed", problem: { code: "SOURCE_REFUSED" } });
  expect(pipeline.strangers).toEqual([]);
  await expectNothingLeft(pipeline, key);
});

test("a redirect that leads round in circles is not followed for ever", async () => {
  const { pipeline, key } = await ingesting(({ url }) => Response.redirect(`${url.origin}/again`, 302));
  const asset = await pipeline.drive(({ state }) => state !== "received");
  expect(asset.problem).toMatchObject({ code: "SOURCE_REFUSED" });
  await expectNothingLeft(pipeline, key);
});

test("a source that was replaced while it was read comes in whole, as the new version", async () => {
  let replaced = false;
  const { pipeline, key } = await ingesting((asked) => {
    const answer = serve(replaced ? v2 : v1, asked);
    if (isProbe(asked)) replaced = true;
    return answer;
  });
  const asset = await pipeline.drive(({ state }) => state !== "received");
  expect(asset).toMatchObject({ state: "archived", original: { sizeBytes }, problem: null });
  const { body } = await wasabi.getRange(key, { from: 0, to: sizeBytes - 1, ifMatch: asset.original?.etag ?? "" });
  expect(new Uint8Array(await new Response(body).arrayBuffer())).toEqual(v2.bytes);
  expect((await pipeline.events("StepDeferred")).length).toBeGreaterThan(0);
  await expectNoUploadLeft(pipeline);
});

test("a source of several parts that is replaced between two of them comes in whole, as the new version", async () => {
  const large = 34 * 1024 ** 2;
  const [old, fresh] = [1, 2].map((fill) => ({ bytes: new Uint8Array(large).fill(fill), etag: `"of-${fill}"` }));
  if (old === undefined || fresh === undefined) throw new Error("two versions are needed");
  let reads = 0;
  const replacing: Interceptor = (asked) => {
    if (!isProbe(asked)) reads += 1;
    return serve(reads > 1 ? fresh : old, asked);
  };
  const { pipeline, key } = await ingesting(replacing, { sizeBytes: large }, { transferPartBytes: 8 * 1024 ** 2 });
  const asset = await pipeline.drive(({ state }) => state !== "received");
  expect(asset).toMatchObject({ state: "archived", problem: null });
  expect((await pipeline.events("TransferOpened")).length).toBeGreaterThan(1);
  for (const from of [0, large / 2, large - 10]) {
    const range = { from, to: from + 9, ifMatch: asset.original?.etag ?? "" };
    const { body } = await wasabi.getRange(key, range);
    expect(new Uint8Array(await new Response(body).arrayBuffer())).toEqual(fresh.bytes.slice(0, 10));
  }
  await expectNoUploadLeft(pipeline);
}, 60_000);

test("a file that is not the one whose SHA-256 was announced never shows", async () => {
  const { pipeline, key } = await ingesting((asked) => serve(v1, asked), { sha256: "a".repeat(64) });
  const asset = await pipeline.drive(({ state }) => state !== "received");
  expect(asset).toMatchObject({ state: "failed", problem: { code: "CHECKSUM_MISMATCH" } });
  await expectNothingLeft(pipeline, key);
});

const busy: [status: number, retryAfter: () => string, leastMs: number][] = [
  [429, () => "120", 120_000],
  [503, () => "120", 120_000],
  [503, () => new Date(Date.now() + 300_000).toUTCString(), 299_000],
  [503, () => "864000", 3_600_000],
];

test.each(busy)(
  "%i with Retry-After is waited out as long as asked, an hour at most",
  async (status, retryAfter, leastMs) => {
    let isBusy = true;
    const { pipeline, key } = await ingesting((asked) =>
      isBusy ? new Response(null, { status, headers: { "retry-after": retryAfter() } }) : serve(v1, asked),
    );
    const waiting = await pipeline.takeAll();
    const nowMs = Date.now();
    expect(waiting).toMatchObject({ state: "received", problem: { code: "SOURCE_UNREADABLE", retryable: true } });
    const waitMs = Date.parse(waiting.problem?.nextAttemptAt ?? "") - nowMs;
    expect(waitMs).toBeGreaterThanOrEqual(leastMs);
    expect(waitMs).toBeLessThanOrEqual(1.2 * (leastMs + 1_000));
    await expectNothingLeft(pipeline, key);
    if (leastMs > 600_000) return;
    isBusy = false;
    expect(await pipeline.drive(({ state }) => state !== "received")).toMatchObject({
      state: "archived",
      problem: null,
    });
    await expectNoUploadLeft(pipeline);
  },
);

const put = (key: string, body: Uint8Array<ArrayBuffer>) =>
  wasabi.put(key, bodyOf(body), { sizeBytes: body.length, contentType: "video/quicktime" });

/** An original that lies in the bucket, at another key than its own. */
async function inTheInbox() {
  const sourceKey = `inbox/${crypto.randomUUID()}.mov`;
  await put(sourceKey, bytes);
  const upload = newUpload({ sizeBytes, source: { kind: "wasabi", key: sourceKey } });
  const pipeline = await openPipeline(upload.fileId);
  return { pipeline, upload, sourceKey, key: originalKey(upload) };
}

test("an original that is replaced between HEAD and copy is copied whole, as the new version", async () => {
  const { pipeline, upload, sourceKey, key } = await inTheInbox();
  let replaced = "";
  pipeline.breakWasabi = async ({ method, headers }) => {
    if (method === "PUT" && headers.has("x-amz-copy-source") && replaced === "") {
      replaced = "soon";
      replaced = await put(sourceKey, v2.bytes);
    }
    return null;
  };
  await pipeline.notice(upload);
  const asset = await pipeline.drive(({ state }) => state !== "received");
  expect(asset).toMatchObject({ state: "archived", original: { sizeBytes } });
  expect((await pipeline.events("StepDeferred"))[0]?.detail).toMatchObject({ code: "SOURCE_CHANGED" });
  const { body } = await wasabi.getRange(key, { from: 0, to: sizeBytes - 1, ifMatch: asset.original?.etag ?? "" });
  expect(new Uint8Array(await new Response(body).arrayBuffer())).toEqual(v2.bytes);
  await expectNoUploadLeft(pipeline);
});

type Breaking = (answer: () => Response) => Interceptor;
const everything: Breaking = (answer) => () => answer();
const uploadsOnly: Breaking = (answer) => asking("POST", "uploads", answer);
const partsOnly: Breaking = (answer) => asking("PUT", "partNumber", answer);
const completionOnly: Breaking = (answer) => asking("POST", "uploadId", answer);

function asking(verb: string, parameter: string, answer: () => Response): Interceptor {
  return ({ method, url }) => (method === verb && url.searchParams.has(parameter) ? answer() : null);
}

const where = [
  ["every request", everything],
  ["the creation of uploads", uploadsOnly],
  ["parts", partsOnly],
  ["completions", completionOnly],
] as const;

test.each(where)(
  "403 RequestRateLimitExceeded to %s is throttling: it waits, and heals by itself",
  async (_name, at) => {
    const { pipeline, key } = await ingesting((asked) => serve(v1, asked));
    pipeline.breakWasabi = at(() => xml("RequestRateLimitExceeded", 403));
    for (let turn = 0; turn < 7; turn += 1) {
      const asset = await pipeline.takeAll();
      expect(asset).toMatchObject({ state: "received", problem: { code: "WASABI_UNAVAILABLE", retryable: true } });
      await pipeline.pass();
    }
    pipeline.breakWasabi = () => null;
    expect(await pipeline.drive(({ state }) => state !== "received")).toMatchObject({
      state: "archived",
      problem: null,
    });
    expect((await wasabi.head(key))?.sizeBytes).toBe(sizeBytes);
    await expectNoUploadLeft(pipeline);
  },
);

test.each(where)("403 AccessDenied to %s fails at once, and says to check the keys", async (_name, at) => {
  const { pipeline, key } = await ingesting((asked) => serve(v1, asked));
  pipeline.breakWasabi = at(() => xml("AccessDenied", 403));
  const asset = await pipeline.takeAll();
  expect(asset).toMatchObject({
    state: "failed",
    problem: { step: "archive", code: "WASABI_FORBIDDEN", retryable: false, nextAttemptAt: null },
  });
  expect(asset.problem?.message).toContain("Check the keys");
  expect(await pipeline.events("StepDeferred")).toEqual([]);
  pipeline.breakWasabi = () => null;
  await expectNothingLeft(pipeline, key);
});

const edgeCopy = ({ renditions }: Asset) => renditions[0]?.copies.find(({ tier }) => tier === "r2");

/** 360p is archived; its copy on R2 is asked for, and nobody has taken that yet. */
async function archivedProxy(rendition = { sizeBytes: 1_000 }) {
  const upload = newUpload({ sizeBytes });
  const pipeline = await openPipeline(upload.fileId);
  await put(originalKey(upload), bytes);
  await pipeline.notice(upload);
  await pipeline.drive(({ state }) => state === "archived");
  await encode(pipeline, rendition);
  while ((await pipeline.asset()).renditions[0]?.status !== "archived") await pipeline.takeOne();
  return { pipeline, key: proxyKey(upload, "360p") };
}

const isRead = ({ method, headers }: Asked) => method === "GET" && headers.has("range");

test.each([
  ["of one part", 1_000],
  ["of several parts", 11 * 1024 ** 2],
])("Wasabi answering a ranged read with all of something else makes no copy %s", async (_name, size) => {
  const { pipeline } = await archivedProxy({ sizeBytes: size });
  const whole = new Uint8Array(size);
  pipeline.breakWasabi = (asked) => (isRead(asked) ? new Response(whole, { headers: { etag: '"any"' } }) : null);
  const copy = edgeCopy(await pipeline.takeAll());
  expect(["placing", "wanted"]).toContain(copy?.status);
  expect(["WASABI_UNAVAILABLE", "ETAG_MISMATCH", "NOT_READY"]).toContain(copy?.problem?.code);
  expect(await env.PROXIES.head(copy?.key ?? "")).toBeNull();
});

test("Wasabi answering 200 with the right version to a ranged read makes no copy, and heals by itself", async () => {
  const { pipeline, key } = await archivedProxy();
  const etag = `"${(await wasabi.head(key))?.etag}"`;
  pipeline.breakWasabi = (asked) => (isRead(asked) ? new Response(new Uint8Array(1_000), { headers: { etag } }) : null);
  for (let turn = 0; turn < 6; turn += 1) {
    const copy = edgeCopy(await pipeline.takeAll());
    expect(copy).toMatchObject({ status: "placing", problem: { code: "WASABI_UNAVAILABLE" } });
    expect(await env.PROXIES.head(copy?.key ?? "")).toBeNull();
    await pipeline.pass();
  }
  pipeline.breakWasabi = () => null;
  const placed = edgeCopy(await pipeline.drive((asset) => edgeCopy(asset)?.status === "placed"));
  expect((await env.PROXIES.head(placed?.key ?? ""))?.size).toBe(1_000);
});

test("a proxy that is replaced in Wasabi before it is read is never copied: it is lost, and encoded again", async () => {
  const { pipeline, key } = await archivedProxy();
  pipeline.breakWasabi = async (asked) => {
    if (isRead(asked)) {
      pipeline.breakWasabi = () => null;
      await put(key, content(1_000, 99));
    }
    return null;
  };
  const oldKey = edgeCopy(await pipeline.asset())?.key ?? "";
  const lost = await pipeline.drive(({ renditions }) => renditions[0]?.status !== "archived");
  expect(lost).toMatchObject({ state: "archived", generation: 2, renditions: [{ status: "wanted" }] });
  expect(await env.PROXIES.head(oldKey)).toBeNull();
  await encode(pipeline, { round: 2 });
  const placed = await pipeline.drive((asset) => edgeCopy(asset)?.status === "placed");
  const object = await env.PROXIES.get(edgeCopy(placed)?.key ?? "");
  expect(new Uint8Array((await object?.arrayBuffer()) ?? [])).toEqual(content(1_000, 20));
  await expectNoUploadLeft(pipeline);
});
