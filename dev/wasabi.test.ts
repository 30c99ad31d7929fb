import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AwsClient } from "aws4fetch";
import { afterAll, beforeAll, expect, test } from "vitest";
import { objectUrl as urlOf } from "./s3.ts";
import { startWasabi, type Wasabi, type WasabiConfig } from "./wasabi.ts";

const partBytes = 5 * 1024 * 1024;
let config: WasabiConfig;
let wasabi: Wasabi;
let s3: AwsClient;

beforeAll(async () => {
  config = {
    port: 0,
    directory: await mkdtemp(join(tmpdir(), "wasabi-test-")),
    bucket: "wasabi-archive",
    accessKeyId: randomBytes(10).toString("hex"),
    secretAccessKey: randomBytes(20).toString("hex"),
  };
  wasabi = await startWasabi(config);
  s3 = new AwsClient({
    ...config,
    service: "s3",
    region: "us-east-1",
    retries: 0,
  });
});

afterAll(async () => {
  await wasabi.dispose();
  await rm(config.directory, { recursive: true, force: true });
});

const objectUrl = (key: string) => urlOf({ endpoint: wasabi.endpoint, bucket: config.bucket }, key);
const unsigned = { "x-amz-content-sha256": "UNSIGNED-PAYLOAD" };

async function put(
  key: string,
  body: Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<Response> {
  return s3.fetch(objectUrl(key), {
    method: "PUT",
    body,
    headers: { ...unsigned, ...headers },
  });
}

test("puts, heads and reads ranges, and refuses wrong keys", async () => {
  const body = randomBytes(1000);
  expect((await put("plain/a b+c.mov", body)).status).toBe(200);
  const head = await s3.fetch(objectUrl("plain/a b+c.mov"), { method: "HEAD" });
  expect(head.status).toBe(200);
  expect(head.headers.get("content-length")).toBe("1000");
  const range = await s3.fetch(objectUrl("plain/a b+c.mov"), {
    headers: { Range: "bytes=10-19" },
  });
  expect(range.status).toBe(206);
  expect(range.headers.get("content-range")).toBe("bytes 10-19/1000");
  expect(Buffer.from(await range.arrayBuffer())).toEqual(body.subarray(10, 20));

  const stranger = new AwsClient({
    ...config,
    secretAccessKey: "wrong",
    service: "s3",
    region: "us-east-1",
    retries: 0,
  });
  expect((await stranger.fetch(objectUrl("plain/a b+c.mov"))).status).toBe(403);
  expect((await fetch(objectUrl("plain/a b+c.mov"))).ok).toBe(false);
});

test("multipart through presigned part URLs, then presigned GET, copy and conditions", async () => {
  const key = "multi/movie.mov";
  const created = await s3.fetch(`${objectUrl(key)}?uploads`, {
    method: "POST",
  });
  const uploadId = /<UploadId>([^<]+)</.exec(await created.text())?.[1];
  expect(uploadId).toBeDefined();
  const parts = [randomBytes(partBytes), randomBytes(1234)];
  const etags: string[] = [];
  for (const [index, part] of parts.entries()) {
    const url = new URL(`${objectUrl(key)}?partNumber=${index + 1}&uploadId=${encodeURIComponent(uploadId ?? "")}`);
    url.searchParams.set("X-Amz-Expires", "300");
    const signed = await s3.sign(url, {
      method: "PUT",
      aws: { signQuery: true },
    });
    const response = await fetch(signed.url, { method: "PUT", body: part });
    expect(response.status).toBe(200);
    etags.push(response.headers.get("etag") ?? "");
  }
  const completed = await s3.fetch(`${objectUrl(key)}?uploadId=${encodeURIComponent(uploadId ?? "")}`, {
    method: "POST",
    body: `<CompleteMultipartUpload>${etags
      .map((etag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${etag}</ETag></Part>`)
      .join("")}</CompleteMultipartUpload>`,
  });
  const text = await completed.text();
  expect(completed.status, text).toBe(200);
  expect(text).toMatch(/-2(&quot;|")/);

  const whole = Buffer.concat(parts);
  const signed = await s3.sign(new URL(`${objectUrl(key)}?X-Amz-Expires=300`), {
    aws: { signQuery: true },
  });
  const read = await fetch(signed.url, {
    headers: { Range: `bytes=${partBytes - 5}-${partBytes + 4}` },
  });
  expect(read.status).toBe(206);
  expect(Buffer.from(await read.arrayBuffer())).toEqual(whole.subarray(partBytes - 5, partBytes + 5));

  const copied = await s3.fetch(objectUrl("copy/movie.mov"), {
    method: "PUT",
    headers: { "x-amz-copy-source": `/${config.bucket}/${key}` },
  });
  expect(copied.status, await copied.text()).toBe(200);
  const head = await s3.fetch(objectUrl("copy/movie.mov"), { method: "HEAD" });
  expect(head.headers.get("content-length")).toBe(String(whole.length));

  const etag = head.headers.get("etag") ?? "";
  expect(
    (
      await s3.fetch(objectUrl("copy/movie.mov"), {
        headers: { "If-Match": etag },
      })
    ).status,
  ).toBe(200);
  expect(
    (
      await s3.fetch(objectUrl("copy/movie.mov"), {
        headers: { "If-Match": '"0"' },
      })
    ).status,
  ).toBe(412);
  expect((await put("copy/movie.mov", randomBytes(3), { "If-None-Match": "*" })).status).toBe(412);
}, 30_000);

test("objects survive a restart", async () => {
  await put("kept/one", new TextEncoder().encode("still here"));
  await wasabi.dispose();
  wasabi = await startWasabi(config);
  expect(await (await s3.fetch(objectUrl("kept/one"))).text()).toBe("still here");
});
