/** What a store or a source labels as packed is taken, and handed on, byte for byte: rightly labelled or not. */
import { expect, inject, test } from "vitest";
import type { CommandOf } from "../schemas/command.ts";
import { originalKey } from "../schemas/key.ts";
import { bench, config, content, hash, newFileId, runStages, wasabi } from "../test/consumer-bench-worker.ts";
import { call, env, quality, seedProxy, config as testConfig } from "../test/door-worker.ts";
import { ingestOriginal } from "./consumers/ingest.ts";
import { signPlaybackUrl } from "./playback-url.ts";
import type { Env } from "./stores/config.ts";
import { wasabiStore } from "./stores/wasabi.ts";

const endpoint = inject("labelledStore");
const labelled = { ...config.wasabi, endpoint };
const urlOf = (key: string) => `${endpoint}/${labelled.bucket}/${key}`;
const put = (key: string, body: Uint8Array<ArrayBuffer>, etag = "e1") =>
  fetch(urlOf(key), { method: "PUT", body, headers: { etag } });
const bytesOf = async (body: ReadableStream | null) => new Uint8Array(await new Response(body).arrayBuffer());

async function packed(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Response(bytes).body?.pipeThrough(new CompressionStream("gzip")) ?? null;
  return (await bytesOf(stream)) as Uint8Array<ArrayBuffer>;
}

const plain = content(500_000);
const samples = [
  ["packed", await packed(plain)],
  ["not packed at all", plain],
] as const;

test.each(samples)("Wasabi's object that is %s is read by range as it is stored", async (name, bytes) => {
  const store = wasabiStore(labelled);
  const key = `originals/${name}.mov`;
  await put(key, bytes);
  const found = await store.head(key);
  expect(found?.sizeBytes).toBe(bytes.length);
  for (const [from, to] of [
    [0, bytes.length - 1],
    [7, 999],
  ] as const) {
    const { body } = await store.getRange(key, { from, to, ifMatch: found?.etag ?? "" });
    expect(await bytesOf(body)).toEqual(bytes.slice(from, to + 1));
  }
});

test.each(samples)("an original at a URL that is %s is archived as it is stored", async (name, bytes) => {
  const source = `elsewhere/${name}.mov`;
  await put(source, bytes);
  const fileId = newFileId();
  const key = originalKey({ clientName: "acme", projectName: "film", fileId, fileName: "x.mov" });
  const command: CommandOf<"IngestOriginal"> = {
    type: "IngestOriginal",
    stage: { type: "open" },
    id: `${fileId}:1:0`,
    fileId,
    op: 1,
    key,
    url: urlOf(source),
    sizeBytes: bytes.length,
    sha256: await hash("SHA-256", bytes),
  };
  const { facts } = await runStages(command, ingestOriginal, {}, bench);
  expect(facts.at(-1)).toMatchObject({ type: "OriginalArchived", sizeBytes: bytes.length });
  const found = await wasabi.head(key);
  const { body } = await wasabi.getRange(key, { from: 0, to: bytes.length - 1, ifMatch: found?.etag ?? "" });
  expect(await bytesOf(body)).toEqual(bytes);
});

test.each([1_000, 400_000])("a proxy of %i bytes that Wasabi labels as packed is delivered as it is", async (size) => {
  const seeded = await seedProxy({ placed: false, proxyBytes: size });
  await put(seeded.wasabiKey, seeded.bytes, seeded.etag);
  const from: Env = new Proxy(env, {
    get: (target, name) => (name === "WASABI_ENDPOINT" ? endpoint : Reflect.get(target, name)),
  });
  const url = await signPlaybackUrl(testConfig.publicUrl, testConfig.playbackKeys, {
    fileId: seeded.upload.fileId,
    jobId: seeded.jobId,
    quality,
    downloadName: null,
    expiresAtSeconds: Math.floor(Date.now() / 1000) + 600,
  });
  const path = url.slice(testConfig.publicUrl.length);
  const whole = await call(path, { env: from, settle: false });
  expect([whole.status, whole.headers.get("x-served-from")]).toEqual([200, "wasabi"]);
  expect(whole.headers.get("content-encoding")).toBeNull();
  expect(await bytesOf(whole.body)).toEqual(seeded.bytes);
  const part = await call(path, { env: from, settle: false, headers: { range: "bytes=100-899" } });
  expect(part.status).toBe(206);
  expect(await bytesOf(part.body)).toEqual(seeded.bytes.slice(100, 900));
});
