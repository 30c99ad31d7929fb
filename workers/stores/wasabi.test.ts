import { expect, inject, test } from "vitest";
import { localWasabiConfig } from "../../test/local-wasabi-worker.ts";
import { hexOf, multipartEtag } from "./part-digest.ts";
import { wasabiStore } from "./wasabi.ts";

const wasabi = wasabiStore(localWasabiConfig());
const mib = 1024 ** 2;

function bytes(sizeBytes: number, seed = 1): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: sizeBytes }, (_, i) => (i * 31 + seed * 17 + (i >> 8)) & 255);
}

function fixed(content: Uint8Array): ReadableStream<Uint8Array> {
  const { readable, writable } = new FixedLengthStream(content.length);
  const writer = writable.getWriter();
  void writer
    .write(content)
    .then(() => writer.close())
    .catch(() => undefined);
  return readable;
}

const put = (key: string, content: Uint8Array) =>
  wasabi.put(key, fixed(content), { sizeBytes: content.length, contentType: "video/mp4" });

const isCeph = inject("localS3") === "ceph";
/** Ceph decodes the name of a part's source twice, and ends at a `%` that escapes nothing. */
const odd = `a b+c${isCeph ? "" : "%2B"}&d=é 日本 (1)!'*~.mov`;

test.each(["plain.mov", odd, "deep//double/slash"])("keeps and serves the key %s", async (name) => {
  const key = `originals/acme/film/file0001/${name}`;
  const content = bytes(1_000);
  const etag = await put(key, content);
  expect(await wasabi.head(key)).toEqual({ sizeBytes: 1_000, etag });
  const { body, totalBytes } = await wasabi.getRange(key, { from: 10, to: 19, ifMatch: etag });
  expect(totalBytes).toBe(1_000);
  expect(new Uint8Array(await new Response(body).arrayBuffer())).toEqual(content.slice(10, 20));

  const presigned = await wasabi.presignGet(key, 60);
  expect(new URL(presigned).searchParams.get("X-Amz-Expires")).toBe("60");
  const direct = await fetch(presigned);
  expect(new Uint8Array(await direct.arrayBuffer())).toEqual(content);

  const copyKey = `copies/${name}`;
  const uploadId = await wasabi.createMultipart(copyKey);
  const part = await wasabi.copyPart(copyKey, uploadId, { n: 1, from: 0, sizeBytes: 1_000, source: { key, etag } });
  const copy = await wasabi.completeNew(copyKey, uploadId, [{ n: 1, etag: part }], { sizeBytes: 1_000, etag: null });
  const copied = await wasabi.getRange(copyKey, { from: 0, to: 999, ifMatch: copy.etag });
  expect(new Uint8Array(await new Response(copied.body).arrayBuffer())).toEqual(content);
  await wasabi.remove(key);
  await wasabi.remove(key);
  expect(await wasabi.head(key)).toBeNull();
});

test("a missing object, another version and an impossible range are told apart", async () => {
  const key = "originals/acme/film/file0002/x.mov";
  expect(await wasabi.head(key)).toBeNull();
  const read = (ifMatch: string, from = 0, to = 9) => wasabi.getRange(key, { from, to, ifMatch });
  await expect(read("x")).rejects.toMatchObject({ code: "ORIGINAL_MISSING", retryable: true });
  const etag = await put(key, bytes(100));
  await expect(read("0".repeat(32))).rejects.toMatchObject({ code: "ETAG_MISMATCH" });
  await expect(read(etag, 100, 109)).rejects.toMatchObject({ code: "RANGE_NOT_SATISFIABLE" });
  // Only part of what was asked for is there: not what was asked for.
  await expect(read(etag, 90, 109)).rejects.toMatchObject({ code: "WASABI_UNAVAILABLE" });
});

test("wrong keys are forbidden, a dead address is unavailable, and neither message carries an address", async () => {
  const config = localWasabiConfig();
  const stranger = wasabiStore({ ...config, secretAccessKey: "wrong" });
  await expect(stranger.head("k")).rejects.toMatchObject({ code: "WASABI_FORBIDDEN", retryable: false });
  const nowhere = wasabiStore({ ...config, bucket: "no-such-bucket" });
  await expect(nowhere.head("k")).rejects.toMatchObject({
    code: "WASABI_FORBIDDEN",
    message: expect.stringContaining('"no-such-bucket"'),
  });
  const dead = wasabiStore({ ...config, endpoint: "http://127.0.0.1:1" });
  const failure = await dead.head("secret-key-name").catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: "WASABI_UNAVAILABLE", retryable: true });
  expect(String(failure)).not.toContain("secret-key-name");
});

test("a key that every URL parser would fold is refused before anything is sent", async () => {
  for (const key of ["originals/../proxies/x", "./x", "", "a/.."]) {
    await expect((async () => wasabi.head(key))()).rejects.toMatchObject({ code: "BAD_REQUEST" });
  }
});

test("parts through the store and through presigned URLs become an object with the expected ETag", async () => {
  const key = "proxies/acme/film/file0003/720p.mp4";
  const contents = [bytes(5 * mib, 1), bytes(5 * mib, 2), bytes(77, 3)];
  const md5 = await Promise.all(contents.map(async (part) => hexOf(await crypto.subtle.digest("MD5", part))));
  const uploadId = await wasabi.createMultipart(key);
  const parts: { n: number; etag: string }[] = [];
  for (const [index, content] of contents.entries()) {
    const n = index + 1;
    if (n === 2) {
      const url = await wasabi.presignPart(key, uploadId, n, 60);
      const response = await fetch(url, { method: "PUT", body: content });
      expect(response.status).toBe(200);
      parts.push({ n, etag: (response.headers.get("etag") ?? "").replaceAll('"', "") });
    } else {
      parts.push({
        n,
        etag: await wasabi.uploadPart(key, uploadId, { n, sizeBytes: content.length, body: fixed(content) }),
      });
    }
  }
  await wasabi.completeMultipart(key, uploadId, parts);
  expect(await wasabi.head(key)).toEqual({ sizeBytes: 10 * mib + 77, etag: await multipartEtag(md5) });
  const again = expect(wasabi.completeMultipart(key, uploadId, parts));
  // Ceph says yes to what is done.
  await (isCeph ? again.resolves.toBeUndefined() : again.rejects.toMatchObject({ code: "UPLOAD_LOST" }));
});

test("aborting twice is done twice", async () => {
  const uploadId = await wasabi.createMultipart("proxies/acme/film/file0004/720p.mp4");
  await wasabi.abortMultipart("proxies/acme/film/file0004/720p.mp4", uploadId);
  await wasabi.abortMultipart("proxies/acme/film/file0004/720p.mp4", uploadId);
});
