/**
 * Steps that have used up their tries, through the real queues, stores and object: what the public asset says then, and what
 * an operator's retry resumes. The machine's own tests go through every step and every way; these prove the whole path.
 */
import { expect, test } from "vitest";
import type { Transfer } from "../../schemas/agent-protocol.ts";
import type { Asset } from "../../schemas/asset.ts";
import { originalKey } from "../../schemas/key.ts";
import { call, env, newUpload, token } from "../../test/door-worker.ts";
import {
  type Asked,
  bodyOf,
  content,
  type Interceptor,
  openPipeline,
  originHost,
  type Pipeline,
  serve,
  wasabi,
} from "../../test/pipeline-worker.ts";
import { encode } from "../../test/runner-worker.ts";
import { xml } from "../../test/wasabi-stub-worker.ts";

const bytes = content(10_000);

/** The operator's one action. @returns the asset as it is answered */
async function retry({ fileId }: Pipeline): Promise<Asset> {
  const options = { method: "POST", token: await token("admin") };
  const response = await call(`/v1/admin/assets/${fileId}/retry`, options);
  expect(response.status).toBe(200);
  return (await response.json()) as Asset;
}

async function archived() {
  const upload = newUpload({ sizeBytes: bytes.length });
  const pipeline = await openPipeline(upload.fileId);
  const options = { sizeBytes: bytes.length, contentType: "video/quicktime" };
  await wasabi.put(originalKey(upload), bodyOf(bytes), options);
  await pipeline.notice(upload);
  await pipeline.drive(({ state }) => state === "archived");
  return pipeline;
}

const copyOf = ({ renditions }: Asset, tier: "wasabi" | "r2" | "lucidlink", quality = "360p") =>
  renditions.find((rendition) => rendition.quality === quality)?.copies.find((copy) => copy.tier === tier);

const renditionIs =
  (status: string, quality = "360p") =>
  ({ renditions }: Asset) =>
    renditions.find((rendition) => rendition.quality === quality)?.status === status;

const isPartRead = ({ method, headers }: Asked) => method === "GET" && headers.has("range");

/** As lucid-agent answers when a transfer stands like this. */
function agent(pipeline: Pipeline, over: Partial<Transfer>): Interceptor {
  return async ({ url }) => {
    const { renditions } = await pipeline.asset();
    const rendition = renditions.find(({ copies }) => copies.some(({ tier }) => tier === "lucidlink"));
    const copy = rendition?.copies.find(({ tier }) => tier === "lucidlink");
    const id = decodeURIComponent(url.pathname.split("/").at(-1) ?? "");
    const known = { id, key: copy?.key.slice(1), op: Number(id.split("_").at(-1)), bytesWritten: 0 };
    const file = { sizeBytes: rendition?.sizeBytes, sha256: rendition?.sha256?.composite };
    const transfer = { status: "copying", problem: null, updatedAt: new Date().toISOString() };
    return Response.json({ ...known, ...file, ...transfer, ...over });
  };
}

test("the original: failed with step, code and sentence; a retry resumes at `received`", async () => {
  const upload = newUpload({ sizeBytes: bytes.length, source: { kind: "url", url: `https://${originHost}/a.mov` } });
  const pipeline = await openPipeline(upload.fileId);
  pipeline.origin = () => new Response(null, { status: 502 });
  await pipeline.notice(upload);
  const failed = await pipeline.drive(({ state }) => state !== "received");
  expect(failed).toMatchObject({
    state: "failed",
    problem: { step: "archive", code: "SOURCE_UNREADABLE", message: "The source answered 502.", nextAttemptAt: null },
  });
  expect(await retry(pipeline)).toMatchObject({ state: "received", problem: null });
  pipeline.origin = (asked) => serve({ bytes, etag: '"v1"' }, asked);
  expect(await pipeline.drive(({ state }) => state !== "received")).toMatchObject({ state: "archived", problem: null });
});

test("a rendition: failed with code and sentence; a retry resumes at the encode and keeps what is archived", async () => {
  const pipeline = await archived();
  const lost: Interceptor = ({ method, url }) =>
    method === "POST" && url.searchParams.has("uploadId") && url.pathname.endsWith("/540p.mp4")
      ? xml("NoSuchUpload", 404)
      : null;
  pipeline.breakWasabi = lost;
  for (let round = 1; (await pipeline.asset()).state !== "failed"; round += 1) {
    expect(round).toBeLessThan(5);
    await encode(pipeline, { height: 540, round });
    await pipeline.drive((asset) => renditionIs("wanted", "540p")(asset) || asset.state === "failed");
  }
  const failed = await pipeline.asset();
  expect(failed).toMatchObject({ state: "failed", problem: { code: "UPLOAD_LOST" } });
  expect(failed.problem?.message).toContain("NoSuchUpload");
  expect(failed.renditions.map(({ status }) => status)).toEqual(["archived", "failed"]);
  const kept = copyOf(failed, "wasabi");
  await pipeline.takeAll();
  pipeline.breakWasabi = () => null;

  expect(await retry(pipeline)).toMatchObject({ state: "archived" });
  await encode(pipeline, { height: 540, round: 9 });
  const encoded = await pipeline.drive(renditionIs("archived", "540p"));
  expect(encoded.renditions.map(({ status }) => status)).toEqual(["archived", "archived"]);
  expect(copyOf(encoded, "wasabi")).toEqual(kept);
});

test("a copy on R2: failed, the asset stays playable; a retry places that copy alone", async () => {
  const pipeline = await archived();
  await encode(pipeline);
  await pipeline.drive(renditionIs("archived"));
  // The right version, the right range, other bytes: only a checksum can tell.
  pipeline.breakWasabi = (asked) => {
    if (!isPartRead(asked)) return null;
    const headers = { etag: `"${etag}"`, "content-range": "bytes 0-999/1000" };
    return new Response(content(1_000, 77), { status: 206, headers });
  };
  const { etag } = (await wasabi.head(copyOf(await pipeline.asset(), "wasabi")?.key ?? "")) ?? { etag: "" };
  const failed = await pipeline.drive((asset) => copyOf(asset, "r2")?.status === "failed");
  expect(failed).toMatchObject({ state: "distributing", renditions: [{ status: "archived" }] });
  const copy = copyOf(failed, "r2");
  expect(copy?.problem).toMatchObject({ step: "r2:360p", code: "CHECKSUM_MISMATCH", nextAttemptAt: null });
  expect(copy?.problem?.message).toMatch(/^\S.*\.$/);
  expect(await env.PROXIES.head(copy?.key ?? "")).toBeNull();

  pipeline.breakWasabi = () => null;
  expect(copyOf(await retry(pipeline), "r2")).toMatchObject({ status: "placing", problem: null });
  const placed = await pipeline.drive((asset) => copyOf(asset, "r2")?.status === "placed");
  expect(copyOf(placed, "wasabi")?.placedAt).toBe(copyOf(failed, "wasabi")?.placedAt);
  expect((await env.PROXIES.head(copy?.key ?? ""))?.size).toBe(1_000);
});

test.each([
  ["at once, for what nothing fixes", "PATH_REFUSED", 1],
  ["after its tries", "CHECKSUM_MISMATCH", 5],
] as const)(
  "a copy in LucidLink: failed %s; the asset stays playable, a retry asks again",
  async (_name, code, tries) => {
    const pipeline = await archived();
    await encode(pipeline);
    // What the agent thinks of trying again is not asked: the table decides.
    const problem = { code, message: "The agent says why.", retryable: code === "PATH_REFUSED" };
    pipeline.agent = agent(pipeline, { status: "failed", problem });
    const failed = await pipeline.drive((asset) => copyOf(asset, "lucidlink")?.status === "failed");
    expect(copyOf(failed, "lucidlink")?.problem).toMatchObject({
      step: "lucidlink:360p",
      code,
      message: "The agent says why.",
    });
    expect(pipeline.taken.filter((type) => type.endsWith("EditorCopy"))).toHaveLength(tries);
    expect(failed.state).toBe("distributing");

    pipeline.agent = agent(pipeline, { status: "durable" });
    expect(copyOf(await retry(pipeline), "lucidlink")).toMatchObject({ status: "placing", problem: null });
    const placed = await pipeline.drive((asset) => copyOf(asset, "lucidlink")?.status === "placed");
    expect(copyOf(placed, "lucidlink")).toMatchObject({ problem: null });
  },
);

test.each(["ArchiveOriginal", "CompleteUpload", "PlaceEdgeCopy", "PlaceEditorCopy"])(
  "a queue that forgets %s costs time, and nobody's attention",
  async (type) => {
    const upload = newUpload({ sizeBytes: bytes.length });
    const pipeline = await openPipeline(upload.fileId);
    pipeline.agent = agent(pipeline, { status: "durable" });
    await wasabi.put(originalKey(upload), bodyOf(bytes), { sizeBytes: bytes.length, contentType: "video/quicktime" });
    await pipeline.notice(upload);
    pipeline.lose(type);
    await pipeline.drive(({ state }) => state === "archived");
    await encode(pipeline);
    const asset = await pipeline.drive(({ state }) => state === "distributed");
    expect(pipeline.lost).toEqual([type]);
    expect(asset).toMatchObject({ problem: null });
  },
);

/** Everywhere that it should be; then its Wasabi object is deleted behind our back. */
async function losing(placedOnEdge: boolean) {
  const pipeline = await archived();
  pipeline.agent = agent(pipeline, { status: "durable" });
  await encode(pipeline, { height: 720 });
  const before = await pipeline.drive(({ state }) => state === "distributed");
  const quality = placedOnEdge ? "360p" : "720p";
  const rendition = before.renditions.find((each) => each.quality === quality);
  const key = copyOf(before, "wasabi", quality)?.key ?? "";
  const proof = await wasabi.head(key);
  await wasabi.remove(key);
  const { jobId = "" } = rendition ?? {};
  await pipeline.tell({ type: "ArchiveLost", quality, jobId, message: "It is gone from Wasabi." });
  return { pipeline, before, quality, key, proof };
}

test("a Wasabi proxy that is lost comes back from its R2 copy, byte for byte, and nothing is encoded", async () => {
  const { pipeline, before, quality, key, proof } = await losing(true);
  expect(await pipeline.asset()).toMatchObject({ state: "distributed", renditions: [{ status: "missing" }, {}, {}] });
  const after = await pipeline.drive(renditionIs("archived", quality));
  expect(await wasabi.head(key)).toEqual(proof);
  expect(after).toMatchObject({ state: "distributed", generation: before.generation, problem: null });
  expect([...pipeline.openUploads]).toEqual([]);
});

test("a Wasabi proxy that is lost without a copy on R2 is encoded again; the others stay as they are", async () => {
  const { pipeline, before, quality, key } = await losing(false);
  expect(await pipeline.asset()).toMatchObject({ state: "archived", renditions: [{}, {}, { status: "wanted" }] });
  await pipeline.pass();
  await encode(pipeline, { height: 720, round: 5 });
  const after = await pipeline.drive(({ state }) => state === "distributed");
  expect(after.generation).toBeGreaterThan(before.generation);
  expect((await wasabi.head(key))?.sizeBytes).toBe(1_000);
  for (const kept of ["360p", "540p"]) expect(copyOf(after, "wasabi", kept)).toEqual(copyOf(before, "wasabi", kept));
  expect(after.renditions.find((each) => each.quality === quality)?.jobId).not.toBe(before.jobId);
  expect([...pipeline.openUploads]).toEqual([]);
});
