/** The work of the storage commands on a real S3 and a real R2; only the object's answers are scripted. */
import { env as bindings } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { PartDigest } from "../../schemas/checksum.ts";
import type { CommandOf } from "../../schemas/command.ts";
import type { AssetEvent } from "../../schemas/event.ts";
import { edgeKey, originalKey, proxyKey } from "../../schemas/key.ts";
import { testBindings } from "../../test/bindings.ts";
import { localWasabiConfig } from "../../test/local-wasabi-worker.ts";
import { type Script, scriptedDoor } from "../../test/scripted-door-worker.ts";
import { type Env, parseConfig } from "../stores/config.ts";
import { abandonedUploads, forgetUpload } from "../stores/open-upload.ts";
import { compositeOf, hexOf, multipartEtag, partRanges } from "../stores/part-digest.ts";
import { headEdge } from "../stores/r2.ts";
import { wasabiStore } from "../stores/wasabi.ts";
import { archiveOriginal } from "./archive.ts";
import { abortUpload, completeUpload } from "./complete.ts";
import { copyByParts } from "./copy-by-parts.ts";
import { placeEdgeCopy, removeEdgeCopy } from "./edge.ts";
import { ingestOriginal } from "./ingest.ts";
import { restoreArchive } from "./restore.ts";
import type { StepCommand } from "./step-of.ts";
import { runStep } from "./step-work.ts";
import { type Facts, tools, type Workbench } from "./workbench.ts";

const env = bindings as unknown as Env;
const config = { ...parseConfig(testBindings), environment: "local", wasabi: localWasabiConfig() };
const bench = tools(env, config);
const { wasabi } = bench;
const mib = 1024 ** 2;
const partSizeBytes = 5 * mib;
const jobId = "00112233445566778899aabb";
const quality = "720p" as const;

let count = 0;
const newFileId = () => `consumer-${Date.now()}-${++count}`;

function content(sizeBytes: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sizeBytes);
  for (let i = 0; i < sizeBytes; i++) bytes[i] = (i * 13 + (i >> 9)) & 255;
  return bytes;
}
const hash = async (name: string, bytes: Uint8Array<ArrayBuffer>) => hexOf(await crypto.subtle.digest(name, bytes));
const bodyOf = (bytes: Uint8Array<ArrayBuffer>) => new Response(bytes).body as ReadableStream<Uint8Array>;

async function run<C extends StepCommand>(
  command: C,
  work: (command: C, bench: Workbench) => Promise<Facts>,
  script: Script = {},
): Promise<{ facts: AssetEvent[]; calls: string[]; keys: (string | null)[] }> {
  const door = scriptedDoor(script);
  const delivery = { messageId: "m1", attempts: 1 };
  await runStep({ command, delivery, door, bench, work: (workbench) => work(command, workbench) });
  return { facts: door.told.map((each) => each.event), calls: door.calls, keys: door.told.map((each) => each.key) };
}

async function putOriginal(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return wasabi.put(key, bodyOf(bytes), { sizeBytes: bytes.length, contentType: "video/mp4" });
}

interface Rendition {
  fileId: string;
  key: ReturnType<typeof proxyKey>;
  uploadId: string;
  bytes: Uint8Array<ArrayBuffer>;
  parts: PartDigest[];
  sha256: { partSizeBytes: number; parts: number; composite: string };
  etag: string;
}

/** As a runner leaves it: every part in Wasabi, nothing completed. */
async function uploadedRendition(sizeBytes = partSizeBytes + 1_000): Promise<Rendition> {
  const fileId = newFileId();
  const key = proxyKey({ clientName: "acme", projectName: "film", fileId }, quality);
  const bytes = content(sizeBytes);
  const uploadId = await wasabi.createMultipart(key);
  const parts: PartDigest[] = [];
  for (const range of partRanges(sizeBytes, partSizeBytes)) {
    const slice = bytes.slice(range.from, range.from + range.sizeBytes);
    const part = { n: range.n, sizeBytes: range.sizeBytes };
    const etag = await wasabi.uploadPart(key, uploadId, { ...part, body: bodyOf(slice) });
    parts.push({ ...part, etag, md5: await hash("MD5", slice), sha256: await hash("SHA-256", slice) });
  }
  const composite = await compositeOf(parts.map((part) => part.sha256));
  const etag = await multipartEtag(parts.map((part) => part.md5));
  return { fileId, key, uploadId, bytes, parts, sha256: { partSizeBytes, parts: parts.length, composite }, etag };
}

const completeCommand = (made: Rendition): CommandOf<"CompleteUpload"> => ({
  type: "CompleteUpload",
  id: `${made.fileId}:1:0`,
  op: 1,
  quality,
  jobId,
  sizeBytes: made.bytes.length,
  fileId: made.fileId,
  key: made.key,
  uploadId: made.uploadId,
  sha256: made.sha256,
});

async function archivedRendition(sizeBytes?: number): Promise<Rendition> {
  const made = await uploadedRendition(sizeBytes);
  await wasabi.completeMultipart(made.key, made.uploadId, made.parts);
  return made;
}

const archiveOf = ({ key, etag, bytes, sha256 }: Rendition) => ({ key, etag, sizeBytes: bytes.length, sha256 });

test("an upload is completed and proven; a second try that finds it done reports the same", async () => {
  const made = await uploadedRendition();
  const expected = { type: "RenditionArchived", quality, jobId, op: 1, etag: made.etag, sizeBytes: made.bytes.length };
  for (let attempt = 0; attempt < 2; attempt++) {
    const { facts, calls } = await run(completeCommand(made), completeUpload, { parts: made.parts });
    expect(facts).toEqual([expected]);
    expect(calls).toContain("claim complete");
  }
});

test("an upload whose parts do not add up is not completed", async () => {
  const made = await uploadedRendition();
  const [first, second] = made.parts;
  if (!first || !second) throw new Error("two parts are expected");
  const parts = [first, { ...second, sha256: first.sha256 }];
  const { facts } = await run(completeCommand(made), completeUpload, { parts });
  expect(facts).toMatchObject([{ type: "StepDeferred", code: "CHECKSUM_MISMATCH" }]);
  expect(await wasabi.head(made.key)).toBeNull();
});

test("an upload that is gone without its object is lost", async () => {
  const made = await uploadedRendition();
  const abort = { type: "AbortUpload", id: "x", fileId: made.fileId, key: made.key, uploadId: made.uploadId } as const;
  await abortUpload(abort, bench);
  await abortUpload(abort, bench);
  const { facts } = await run(completeCommand(made), completeUpload, { parts: made.parts });
  expect(facts).toMatchObject([{ type: "StepFailed", code: "UPLOAD_LOST" }]);
});

test("nothing is completed without the key", async () => {
  const made = await uploadedRendition();
  const busy = await run(completeCommand(made), completeUpload, {
    parts: made.parts,
    claim: { granted: false, reason: "busy", retryAfterMs: 1234 },
  });
  expect(busy.facts).toMatchObject([{ type: "StepDeferred", code: "NOT_READY", retryAfterMs: 1234 }]);
  expect(busy.keys).toEqual([`${made.fileId}:1:0:m1:1`]);
  const stale = await run(completeCommand(made), completeUpload, {
    parts: made.parts,
    claim: { granted: false, reason: "stale" },
  });
  expect(stale.facts).toEqual([]);
  const unwanted = await run(completeCommand(made), completeUpload, { begin: { go: false, reason: "cancelled" } });
  expect(unwanted.facts).toEqual([]);
  expect(await wasabi.head(made.key)).toBeNull();
});

test("a bug is thrown, for the queue to deliver again, and is told to nobody", async () => {
  const made = await uploadedRendition();
  const broken = () => Promise.reject(new TypeError("x is not a function"));
  await expect(run(completeCommand(made), broken)).rejects.toThrow("x is not a function");
});

const placeCommand = (made: Rendition): CommandOf<"PlaceEdgeCopy"> => ({
  type: "PlaceEdgeCopy",
  id: `${made.fileId}:2:0`,
  op: 2,
  fileId: made.fileId,
  quality,
  jobId: hexOf(new TextEncoder().encode(made.fileId.slice(-12))),
  key: edgeKey(hexOf(new TextEncoder().encode(made.fileId.slice(-12))), quality),
  source: archiveOf(made),
});

test("a copy comes to R2 part by part, is found there by a second try, and leaves while its archive is whole", async () => {
  const made = await archivedRendition();
  const place = placeCommand(made);
  const first = await run(place, placeEdgeCopy, { parts: made.parts });
  expect(first.facts).toMatchObject([{ type: "CopyPlaced", sizeBytes: made.bytes.length, sha256: made.sha256 }]);
  expect(first.calls).toContain("claim place");
  const again = await run(place, placeEdgeCopy);
  expect(again.facts).toEqual(first.facts);
  expect(again.calls).not.toContain("claim place");

  const remove = { ...place, type: "RemoveEdgeCopy", archive: place.source } as const;
  for (let attempt = 0; attempt < 2; attempt++) {
    expect((await run(remove, removeEdgeCopy)).facts).toMatchObject([{ type: "CopyRemoved", op: 2 }]);
    expect(await headEdge(env.PROXIES, place.key)).toBeNull();
  }
});

test("nothing leaves R2 while its archive is gone or another object, and the loss is told", async () => {
  const made = await archivedRendition();
  const place = placeCommand(made);
  await run(place, placeEdgeCopy, { parts: made.parts });
  const remove = { ...place, type: "RemoveEdgeCopy", archive: place.source } as const;

  await putOriginal(made.key, content(10));
  const replaced = await run(remove, removeEdgeCopy);
  expect(replaced.facts).toMatchObject([{ type: "StepFailed", code: "ETAG_MISMATCH" }, { type: "ArchiveLost" }]);
  await wasabi.remove(made.key);
  const gone = await run(remove, removeEdgeCopy);
  expect(gone.facts).toMatchObject([{ type: "StepFailed", code: "ORIGINAL_MISSING" }, { type: "ArchiveLost" }]);
  const unnamed = await run({ ...remove, archive: null }, removeEdgeCopy, {
    view: async () => ({ state: "distributed", renditions: [{ quality, jobId: place.jobId }] }) as never,
  });
  expect(unnamed.facts).toMatchObject([{ type: "StepDeferred", code: "NOT_READY" }]);
  expect((await headEdge(env.PROXIES, place.key))?.sizeBytes).toBe(made.bytes.length);

  const restore: CommandOf<"RestoreArchive"> = {
    type: "RestoreArchive",
    id: `${made.fileId}:3:0`,
    op: 3,
    fileId: made.fileId,
    quality,
    jobId: place.jobId,
    key: made.key,
    from: place.key,
    sizeBytes: made.bytes.length,
    sha256: made.sha256,
  };
  const restored = await run(restore, restoreArchive, { parts: made.parts });
  expect(restored.facts).toMatchObject([{ type: "RenditionArchived", etag: made.etag }]);
  expect(await wasabi.head(made.key)).toEqual({ sizeBytes: made.bytes.length, etag: made.etag });
  expect(await env.CATALOGUE.prepare("SELECT count(*) AS n FROM open_uploads").first("n")).toBe(0);
});

test("a copy is not made from another object, and the loss is told", async () => {
  const made = await archivedRendition();
  await putOriginal(made.key, content(made.bytes.length - 1));
  const { facts } = await run(placeCommand(made), placeEdgeCopy, { parts: made.parts });
  expect(facts).toMatchObject([{ type: "StepDeferred", code: "NOT_READY" }, { type: "ArchiveLost" }]);
  expect(await headEdge(env.PROXIES, placeCommand(made).key)).toBeNull();
});

function archiveCommand(sizeBytes: number, sourceKey?: string): CommandOf<"ArchiveOriginal"> {
  const fileId = newFileId();
  const key = originalKey({ clientName: "acme", projectName: "film", fileId, fileName: "Ä b+c.mov" });
  const id = `${fileId}:1:0`;
  return { type: "ArchiveOriginal", id, fileId, op: 1, sourceKey: sourceKey ?? key, key, sizeBytes, sha256: null };
}

test("an original in place is proven by size; one that is missing is waited for; another size is refused", async () => {
  const command = archiveCommand(1_000);
  expect((await run(command, archiveOriginal)).facts).toMatchObject([
    { type: "StepDeferred", code: "ORIGINAL_MISSING" },
  ]);
  const etag = await putOriginal(command.key, content(1_000));
  expect((await run(command, archiveOriginal)).facts).toEqual([
    { type: "OriginalArchived", op: 1, key: command.key, sizeBytes: 1_000, etag, sha256: null },
  ]);
  const other = { ...command, sizeBytes: 999 };
  expect((await run(other, archiveOriginal)).facts).toMatchObject([{ type: "StepFailed", code: "SIZE_MISMATCH" }]);
});

const notedUploads = async (key: string) =>
  (await abandonedUploads(env.CATALOGUE, "9999", 1_000)).filter((upload) => upload.key === key);

test("an upload that Wasabi does not abort in time is noted, so that its parts are not billed for ever", async () => {
  const { fileId, key, uploadId } = await uploadedRendition();
  const away = wasabiStore({ ...config.wasabi, endpoint: "http://127.0.0.1:9" });
  await abortUpload({ type: "AbortUpload", id: "x", fileId, key, uploadId }, { env, wasabi: away });
  expect(await notedUploads(key)).toEqual([{ uploadId, key }]);
  await forgetUpload(env.CATALOGUE, uploadId);
});

test("a large original is copied by parts; a copy that breaks off leaves neither upload nor object", async () => {
  const fileId = newFileId();
  const bytes = content(partSizeBytes * 2 + 10);
  const sourceKey = `inbox/${fileId}.mov`;
  const etag = await putOriginal(sourceKey, bytes);
  const source = { key: sourceKey, etag, sizeBytes: bytes.length };
  const target = { key: `originals/acme/film/${fileId}/a.mov`, fileId };
  const signal = new AbortController().signal;
  // The local S3 has no UploadPartCopy: its part is read and written instead, pinned to the version all the same.
  const copyPart: typeof wasabi.copyPart = async (key, uploadId, { n, from, sizeBytes, source: { key: of, etag } }) => {
    const { body } = await wasabi.getRange(of, { from, to: from + sizeBytes - 1, ifMatch: etag });
    const read = new Uint8Array(await new Response(body).arrayBuffer());
    return wasabi.uploadPart(key, uploadId, { n, sizeBytes, body: bodyOf(read) });
  };
  const workbench = {
    ...bench,
    wasabi: { ...wasabi, copyPart },
    door: scriptedDoor(),
    signal,
    claim: async () => undefined,
  };

  const otherVersion = { ...source, etag: "0".repeat(32) };
  await expect(copyByParts(otherVersion, target, workbench, partSizeBytes)).rejects.toMatchObject({
    code: "ETAG_MISMATCH",
  });
  expect(await wasabi.head(target.key)).toBeNull();
  expect(await notedUploads(target.key)).toEqual([]);

  await copyByParts(source, target, workbench, partSizeBytes);
  const copy = await wasabi.head(target.key);
  const { body } = await wasabi.getRange(target.key, { from: 0, to: bytes.length - 1, ifMatch: copy?.etag ?? "" });
  expect(await hash("SHA-256", new Uint8Array(await new Response(body).arrayBuffer()))).toBe(
    await hash("SHA-256", bytes),
  );
  expect(await notedUploads(target.key)).toEqual([]);
});

test("an original elsewhere in the bucket is copied to its canonical key, once", async () => {
  const sourceKey = `inbox/${newFileId()} +ü.mov`;
  const etag = await putOriginal(sourceKey, content(2_000));
  const command = archiveCommand(2_000, sourceKey);
  const first = await run(command, archiveOriginal);
  expect(first.facts).toMatchObject([{ type: "OriginalArchived", key: command.key, sizeBytes: 2_000 }]);
  expect(first.calls).toContain("claim complete");
  await wasabi.remove(sourceKey);
  expect((await run(command, archiveOriginal)).facts).toEqual(first.facts);
  expect(etag).not.toBe("");
});

async function ingestCommand(bytes: Uint8Array<ArrayBuffer>, sha256: string | null) {
  const { fileId, key, id, op } = archiveCommand(bytes.length);
  const sourceKey = `elsewhere/${fileId}.mov`;
  await putOriginal(sourceKey, bytes);
  const url = await wasabi.presignGet(sourceKey, 300);
  return { type: "IngestOriginal", id, fileId, op, key, url, sizeBytes: bytes.length, sha256 } as const;
}

test("an original at a URL comes in by ranges, its whole digest compared", async () => {
  const bytes = content(33 * mib);
  const command = await ingestCommand(bytes, await hash("SHA-256", bytes));
  const { facts } = await run(command, ingestOriginal);
  const halves = [bytes.slice(0, 32 * mib), bytes.slice(32 * mib)];
  const etag = await multipartEtag(await Promise.all(halves.map((half) => hash("MD5", half))));
  const composite = await compositeOf(await Promise.all(halves.map((half) => hash("SHA-256", half))));
  const sha256 = { partSizeBytes: 32 * mib, parts: 2, composite };
  expect(facts).toEqual([{ type: "OriginalArchived", op: 1, key: command.key, sizeBytes: bytes.length, etag, sha256 }]);
  expect(await wasabi.head(command.key)).toEqual({ sizeBytes: bytes.length, etag });
}, 120_000);

test.each([
  ["another digest", { sha256: "0".repeat(64) }, "StepFailed", "CHECKSUM_MISMATCH"],
  ["another size", { sizeBytes: 999 }, "StepFailed", "SIZE_MISMATCH"],
  ["no answer", { url: "http://127.0.0.1:1/x.mov" }, "StepDeferred", "SOURCE_UNREADABLE"],
  ["no such file", { url: `${config.wasabi.endpoint}/nothing/here` }, "StepDeferred", "ORIGINAL_MISSING"],
])("an original with %s never shows", async (_name, over, type, code) => {
  const command = { ...(await ingestCommand(content(1_000), null)), ...over };
  const { facts } = await run(command, ingestOriginal);
  expect(facts).toMatchObject([{ type, code }]);
  expect(await wasabi.head(command.key)).toBeNull();
  expect(await env.CATALOGUE.prepare("SELECT count(*) AS n FROM open_uploads").first("n")).toBe(0);
});
