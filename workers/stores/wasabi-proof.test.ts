/** What a completion is worth is told by the object, on a real S3 some of whose answers are other stores'. */
import { expect, onTestFinished, test, vi } from "vitest";
import { localWasabiConfig } from "../../test/local-wasabi-worker.ts";
import { xml } from "../../test/wasabi-stub-worker.ts";
import { wasabiStore } from "./wasabi.ts";

const wasabi = wasabiStore(localWasabiConfig());
const text = "the bytes of a file";
const sizeBytes = text.length;
let count = 0;

/** One part uploaded, nothing completed. */
async function openedUpload() {
  const key = `originals/acme/film/proof-${Date.now()}-${++count}/x.mov`;
  const uploadId = await wasabi.createMultipart(key);
  const body = new Response(text).body as ReadableStream<Uint8Array>;
  const etag = await wasabi.uploadPart(key, uploadId, { n: 1, sizeBytes, body });
  return { key, uploadId, parts: [{ n: 1, etag }] };
}

const put = (key: string, content: string) =>
  wasabi.put(key, new Response(content).body as ReadableStream<Uint8Array>, {
    sizeBytes: content.length,
    contentType: "video/mp4",
  });

type Answer = (request: Request, pass: () => Promise<Response>) => Promise<Response | null> | Response | null;

/** Until the test ends. Null lets a request through. */
function answerInstead(answer: Answer): void {
  const real = globalThis.fetch;
  const spy = vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const pass = () => real(input, init);
    return (await answer(new Request(input as Request, { body: null }), pass)) ?? pass();
  });
  onTestFinished(() => spy.mockRestore());
}

const isAbout = ({ url }: Request, name: string) => new URL(url).searchParams.has(name);
const isCompletion = (request: Request) => request.method === "POST" && isAbout(request, "uploadId");
const isPartList = (request: Request) => request.method === "GET" && isAbout(request, "uploadId");
const expected = { sizeBytes, etag: null };

test("a completion whose answer has an empty ETag is a completion", async () => {
  const { key, uploadId, parts } = await openedUpload();
  answerInstead(async (request, pass) => {
    if (!isCompletion(request)) return null;
    await (await pass()).text();
    return new Response("<CompleteMultipartUploadResult><Key>x</Key><ETag></ETag></CompleteMultipartUploadResult>");
  });
  expect(await wasabi.completeNew(key, uploadId, parts, expected)).toMatchObject({ sizeBytes });
});

test.each(["NoSuchUpload", "NoSuchKey"])("a 500 for an upload that is gone (%s) is not waited out", async (code) => {
  const { key, uploadId, parts } = await openedUpload();
  await wasabi.abortMultipart(key, uploadId);
  answerInstead((request) => {
    if (isCompletion(request)) return xml("InternalError", 500);
    return isPartList(request) ? xml(code, 404) : null;
  });
  const lost = { code: "UPLOAD_LOST" };
  await expect(wasabi.completeNew(key, uploadId, parts, expected)).rejects.toMatchObject(lost);
  await expect(wasabi.completeProven(key, uploadId, parts, expected)).rejects.toMatchObject(lost);
});

test("a 500 for an upload that is there, or whose completion arrived, is no loss", async () => {
  const { key, uploadId, parts } = await openedUpload();
  let arrives = false;
  answerInstead(async (request, pass) => {
    if (isPartList(request)) return new Response("<ListPartsResult></ListPartsResult>");
    if (!isCompletion(request)) return null;
    if (arrives) await (await pass()).text();
    return xml("InternalError", 500);
  });
  await expect(wasabi.completeNew(key, uploadId, parts, expected)).rejects.toMatchObject({
    code: "WASABI_UNAVAILABLE",
  });
  arrives = true;
  expect(await wasabi.completeNew(key, uploadId, parts, expected)).toMatchObject({ sizeBytes });
  // Once more, when it lies there.
  expect(await wasabi.completeNew(key, uploadId, parts, expected)).toMatchObject({ sizeBytes });
});

test("a store that does not know the condition is asked without it", async () => {
  const { key, uploadId, parts } = await openedUpload();
  const conditions: (string | null)[] = [];
  answerInstead((request) => {
    if (!isCompletion(request)) return null;
    conditions.push(request.headers.get("if-none-match"));
    return request.headers.has("if-none-match") ? xml("NotImplemented", 501) : null;
  });
  await wasabi.completeNew(key, uploadId, parts, expected);
  expect(conditions).toEqual(["*", null]);
});

test("what comes to the key just before a completion is not overwritten where the store knows the condition", async () => {
  const { key, uploadId, parts } = await openedUpload();
  answerInstead(async (request) => {
    if (!isCompletion(request) || !request.headers.has("if-none-match")) return null;
    await put(key, "somebody else's");
    return xml("PreconditionFailed", 412);
  });
  await expect(wasabi.completeNew(key, uploadId, parts, expected)).rejects.toMatchObject({
    code: "CONFLICT",
    message: expect.stringContaining("15 bytes"),
  });
  await wasabi.abortMultipart(key, uploadId);
});

test("a 404 that names nothing is no missing object", async () => {
  answerInstead(() => new Response(null, { status: 404 }));
  await expect(wasabi.head("originals/x")).rejects.toMatchObject({ code: "WASABI_UNAVAILABLE" });
});

test("only the host and x-amz headers are signed", async () => {
  const signed: string[] = [];
  answerInstead(({ headers }) => {
    signed.push(/SignedHeaders=([^,]+)/.exec(headers.get("authorization") ?? "")?.[1] ?? "");
    return xml("NotImplemented", 501);
  });
  const source = { key: "inbox/x", etag: "abc" };
  await wasabi.copyPart("k", "id", { n: 1, from: 0, sizeBytes: 1, source }).catch(() => undefined);
  await wasabi.getRange("k", { from: 0, to: 1, ifMatch: "abc" }).catch(() => undefined);
  await wasabi.completeNew("k", "id", [], expected).catch(() => undefined);
  await wasabi.completeMultipart("k", "id", []).catch(() => undefined);
  const names = signed.flatMap((list) => list.split(";"));
  expect(signed.length).toBeGreaterThan(4);
  expect(names.filter((name) => name !== "host" && !name.startsWith("x-amz-"))).toEqual([]);
  const url = new URL(await wasabi.presignPart("k", "id", 1, 60));
  expect(url.searchParams.get("X-Amz-SignedHeaders")).toBe("host");
});
