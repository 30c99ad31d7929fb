/**
 * Does to the archive what the rest of the worker does to it, from inside the worker, so that what the platform does to
 * requests shows too: HEAD, Range and If-Match on `.mp4` keys above all. The keys are constant and no asset's, and what is
 * written is tiny: the worker's own key cannot delete, so that each run replaces what the one before has left.
 */
import { z } from "zod";
import type { SelfTestCheck } from "../../schemas/self-test.ts";
import type { WasabiConfig } from "./config.ts";
import { fetchWithin, within } from "./deadline.ts";
import { hexOf, multipartEtag } from "./part-digest.ts";
import { StoreFailure } from "./store-failure.ts";
import { type WasabiStore, wasabiStore } from "./wasabi.ts";
import { parseXml } from "./wasabi-error.ts";
import { completeMultipart, isUploadGone } from "./wasabi-multipart.ts";
import { answerText, sendOrThrow } from "./wasabi-request.ts";
import { objectUrl } from "./wasabi-url.ts";

/** A client's name begins with a letter or a digit: no asset can have a key below it. */
const folder = "proxies/.self-test";
const clipKey = `${folder}/clip.mp4`;
const stepTimeoutMs = 20_000;
const sizeBytes = 4096;
const type = "video/mp4";
const otherEtag = "0".repeat(32);

interface Bench {
  config: WasabiConfig;
  wasabi: WasabiStore;
  content: Uint8Array<ArrayBuffer>;
  md5: string;
}

/** What the answer should have been. */
class Fault extends Error {
  override readonly name = "Fault";
}

const stream = (content: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array> => {
  const { readable, writable } = new FixedLengthStream(content.length);
  const writer = writable.getWriter();
  void writer
    .write(content)
    .then(() => writer.close())
    .catch(() => undefined);
  return readable;
};

function expectEqual(what: string, found: unknown, expected: unknown): void {
  if (found !== expected) throw new Fault(`${what} is ${String(found)}, not ${String(expected)}.`);
}

/** @returns whether the condition, which does not hold, was heeded */
async function isRefused(asking: Promise<unknown>): Promise<boolean> {
  try {
    await asking;
    return false;
  } catch (error) {
    if (error instanceof StoreFailure && error.code === "ETAG_MISMATCH") return true;
    throw error;
  }
}

async function readBytes(body: ReadableStream<Uint8Array> | null): Promise<Uint8Array> {
  return new Uint8Array(await new Response(body).arrayBuffer());
}

function expectRange({ content }: Bench, bytes: Uint8Array, from: number, to: number): void {
  const expected = content.subarray(from, to + 1);
  if (bytes.length !== expected.length || bytes.some((byte, index) => byte !== expected[index])) {
    throw new Fault(`bytes ${from} to ${to} came as ${bytes.length} others.`);
  }
}

/** The upload is aborted whatever becomes of the work, unless the work completes it. */
async function inUpload(
  { wasabi }: Bench,
  key: string,
  work: (uploadId: string) => Promise<"open" | "completed">,
): Promise<void> {
  const uploadId = await wasabi.createMultipart(key);
  let state: "open" | "completed" = "open";
  try {
    state = await work(uploadId);
  } finally {
    if (state === "open") await wasabi.abortMultipart(key, uploadId);
  }
}

const ListedParts = z.object({
  ListPartsResult: z.object({
    Part: z.union([
      z.array(z.object({ PartNumber: z.string(), ETag: z.string() })),
      z.object({ PartNumber: z.string(), ETag: z.string() }).transform((part) => [part]),
    ]),
  }),
});

/** @returns their ETags */
async function listParts({ config }: Bench, key: string, uploadId: string): Promise<string[]> {
  const operation = "the listing of an upload's parts";
  const response = await sendOrThrow(config, {
    operation,
    method: "GET",
    url: `${objectUrl(config, key)}?uploadId=${encodeURIComponent(uploadId)}`,
    timeoutMs: stepTimeoutMs,
  });
  const parsed = ListedParts.safeParse(parseXml(await answerText(operation, response)));
  if (!parsed.success) throw new Fault("the answer lists no part.");
  return parsed.data.ListPartsResult.Part.map(({ ETag }) => ETag.replaceAll(/"|&quot;/g, ""));
}

/** In this order: the first writes what the others read. What a step returns is worth telling though all is well. */
const steps: Readonly<Record<string, (bench: Bench) => Promise<string | undefined>>> = {
  async PutObject(bench) {
    const { wasabi, content, md5 } = bench;
    const etag = await wasabi.put(clipKey, stream(content), { sizeBytes, contentType: type });
    expectEqual("the ETag", etag, md5);
  },
  async HEAD(bench) {
    const found = await bench.wasabi.head(clipKey);
    expectEqual("the size", found?.sizeBytes, sizeBytes);
    expectEqual("the ETag", found?.etag, bench.md5);
  },
  async "HEAD of a missing key"({ wasabi }) {
    expectEqual("the answer", await wasabi.head(`${folder}/missing.mp4`), null);
  },
  async Range(bench) {
    const { body } = await bench.wasabi.getRange(clipKey, { from: 10, to: 109, ifMatch: bench.md5 });
    expectRange(bench, await readBytes(body), 10, 109);
  },
  async "If-Match"({ wasabi }) {
    const heeded = await isRefused(wasabi.getRange(clipKey, { from: 0, to: 9, ifMatch: otherEtag }));
    if (!heeded) throw new Fault("another version than asked for is served.");
  },
  async UploadPart(bench) {
    const { wasabi, content, md5 } = bench;
    const key = `${folder}/parts.mp4`;
    await inUpload(bench, key, async (uploadId) => {
      const etag = await wasabi.uploadPart(key, uploadId, { n: 1, sizeBytes, body: stream(content) });
      await wasabi.completeProven(key, uploadId, [{ n: 1, etag }], { sizeBytes, etag: await multipartEtag([md5]) });
      return "completed";
    });
  },
  async "If-None-Match"(bench) {
    const { config, wasabi, content } = bench;
    const key = `${folder}/parts.mp4`;
    let isHeeded = false;
    await inUpload(bench, key, async (uploadId) => {
      const etag = await wasabi.uploadPart(key, uploadId, { n: 1, sizeBytes, body: stream(content) });
      isHeeded = await isRefused(completeMultipart(config, { key, uploadId }, [{ n: 1, etag }], { onlyNew: true }));
      return isHeeded ? "open" : "completed";
    });
    return isHeeded ? "" : "the store ignores it: the worker looks before and after";
  },
  async UploadPartCopy(bench) {
    const { wasabi, md5 } = bench;
    const key = `${folder}/copied-parts.mp4`;
    await inUpload(bench, key, async (uploadId) => {
      const source = { key: clipKey, etag: md5 };
      const etag = await wasabi.copyPart(key, uploadId, { n: 1, from: 0, sizeBytes, source });
      await wasabi.completeProven(key, uploadId, [{ n: 1, etag }], { sizeBytes, etag: await multipartEtag([md5]) });
      return "completed";
    });
  },
  async ListParts(bench) {
    const { wasabi, content } = bench;
    const key = `${folder}/listed-parts.mp4`;
    let id = "";
    await inUpload(bench, key, async (uploadId) => {
      const etag = await wasabi.uploadPart(key, uploadId, { n: 1, sizeBytes, body: stream(content) });
      expectEqual("the ETag in the list", (await listParts(bench, key, uploadId)).join(), etag);
      id = uploadId;
      return "open";
    });
    if (!(await isUploadGone(bench.config, { key, uploadId: id }))) throw new Fault("an aborted upload still answers.");
  },
  async "ListMultipartUploads and AbortMultipartUpload"(bench) {
    const key = `${folder}/aborted.mp4`;
    let id = "";
    const isListed = async () => (await bench.wasabi.listUploads(key)).some(({ uploadId }) => uploadId === id);
    await inUpload(bench, key, async (uploadId) => {
      id = uploadId;
      if (!(await isListed())) throw new Fault("an open upload is not listed.");
      return "open";
    });
    if (await isListed()) throw new Fault("an upload that was aborted is still listed.");
  },
  async "presigned URL"(bench) {
    const url = await bench.wasabi.presignGet(clipKey, 60);
    const request = new Request(url, { headers: { range: "bytes=10-109" }, redirect: "manual" });
    const response = await fetchWithin(request, { timeoutMs: stepTimeoutMs });
    expectEqual("the status", response.status, 206);
    expectRange(bench, await readBytes(response.body), 10, 109);
  },
};

/** @param forgiving a store that lacks an operation (501) is no fault where the archive is a stand-in */
export async function testWasabi(
  config: WasabiConfig,
  { forgiving }: { forgiving: boolean },
): Promise<SelfTestCheck[]> {
  const content = Uint8Array.from({ length: sizeBytes }, (_, index) => (index * 31 + (index >> 8)) & 255);
  const md5 = hexOf(await crypto.subtle.digest("MD5", content));
  const bench: Bench = { config, wasabi: wasabiStore(config), content, md5 };
  const checks: SelfTestCheck[] = [];
  for (const [name, step] of Object.entries(steps)) {
    const late = () => new Fault(`no end within ${stepTimeoutMs / 1000} s.`);
    try {
      const detail = (await within(step(bench), stepTimeoutMs, late)) ?? "";
      checks.push({ name, outcome: "ok", detail });
    } catch (error) {
      const outcome = forgiving && isUnknownOperation(error) ? "not-checkable" : "failed";
      checks.push({ name, outcome, detail: sentenceOf(error, bench) });
    }
  }
  return checks;
}

const isUnknownOperation = (error: unknown) => error instanceof StoreFailure && /\banswered 501\b/.test(error.message);

/** Nothing of a signed address may leave: what was not foreseen is told by its name alone. */
function sentenceOf(error: unknown, { md5 }: Bench): string {
  if (error instanceof Fault) return error.message.replaceAll(md5, "its MD5");
  if (error instanceof StoreFailure) return error.message;
  return error instanceof Error ? `${error.name} was thrown.` : "Something was thrown.";
}
