/** The work of the commands that bring an original to its key, on a real S3; only the object's answers are scripted. */
import { expect, test } from "vitest";
import type { CommandOf } from "../../schemas/command.ts";
import { originalKey } from "../../schemas/key.ts";
import {
  bench,
  bodyOf,
  config,
  content,
  env,
  hash,
  newFileId,
  notedUploads,
  partSizeBytes,
  putOriginal,
  run,
  runStages,
  smallParts,
  wasabi,
} from "../../test/consumer-bench-worker.ts";
import { compositeOf, multipartEtag, partRanges } from "../stores/part-digest.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import { archiveOriginal } from "./archive.ts";
import { ingestOriginal } from "./ingest.ts";

function archiveCommand(sizeBytes: number, sourceKey?: string): CommandOf<"ArchiveOriginal"> {
  const fileId = newFileId();
  const key = originalKey({ clientName: "acme", projectName: "film", fileId, fileName: "Ä b+c.mov" });
  const id = `${fileId}:1:0`;
  return {
    type: "ArchiveOriginal",
    stage: { type: "open" },
    id,
    fileId,
    op: 1,
    sourceKey: sourceKey ?? key,
    key,
    sizeBytes,
    sha256: null,
  };
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

/** The local S3 has no UploadPartCopy: its part is read and written instead, pinned to the version all the same. */
const copyPart: typeof wasabi.copyPart = async (key, uploadId, { n, from, sizeBytes, source: { key: of, etag } }) => {
  const { body } = await wasabi.getRange(of, { from, to: from + sizeBytes - 1, ifMatch: etag });
  const read = new Uint8Array(await new Response(body).arrayBuffer());
  return wasabi.uploadPart(key, uploadId, { n, sizeBytes, body: bodyOf(read) });
};

test("a large original is copied by parts; one that is replaced meanwhile starts over", async () => {
  const bytes = content(partSizeBytes * 2 + 10);
  const sourceKey = `inbox/${newFileId()}.mov`;
  await putOriginal(sourceKey, bytes);
  const command = archiveCommand(bytes.length, sourceKey);
  const policy = { ...config.policy, singleCopyBytes: partSizeBytes, transferPartBytes: partSizeBytes };
  const workbench = { ...bench, config: { ...config, policy }, wasabi: { ...wasabi, copyPart } };

  const small = { ...workbench, wasabi: { ...workbench.wasabi, head: (key: string) => wasabi.head(key) } };
  const otherVersion: typeof wasabi.copyPart = (key, uploadId, part) =>
    copyPart(key, uploadId, { ...part, source: { ...part.source, etag: "0".repeat(32) } });
  const replaced = await runStages(
    command,
    archiveOriginal,
    {},
    { ...small, wasabi: { ...wasabi, copyPart: otherVersion } },
  );
  expect(replaced.facts).toMatchObject([{ type: "StepDeferred", code: "SOURCE_CHANGED", startOver: true, parts: [1] }]);
  expect(await wasabi.head(command.key)).toBeNull();
  await wasabi.abortMultipart(command.key, replaced.plan?.uploadId ?? "");

  const { facts, calls, plan } = await runStages(command, archiveOriginal, {}, workbench);
  expect(plan).toMatchObject({ tier: "wasabi", parts: 1, partsPerMessage: 6 });
  expect(facts.at(-1)).toMatchObject({ type: "OriginalArchived", sizeBytes: bytes.length, sha256: null });
  expect(calls).toContain("claim complete");
  const copy = await wasabi.head(command.key);
  const { body } = await wasabi.getRange(command.key, { from: 0, to: bytes.length - 1, ifMatch: copy?.etag ?? "" });
  expect(await hash("SHA-256", new Uint8Array(await new Response(body).arrayBuffer()))).toBe(
    await hash("SHA-256", bytes),
  );
  expect(await notedUploads(command.key)).toEqual([]);
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
  const stage = { type: "open" } as const;
  return { type: "IngestOriginal", stage, id, fileId, op, key, url, sizeBytes: bytes.length, sha256 } as const;
}

test.each([
  ["in any order", false],
  ["in order, its whole digest carried from message to message", true],
])(
  "an original at a URL comes in by parts, %s",
  async (_name, announced) => {
    const bytes = content(8 * partSizeBytes + 1_234_567);
    const command = await ingestCommand(bytes, announced ? await hash("SHA-256", bytes) : null);
    const { facts, plan } = await runStages(command, ingestOriginal, {}, smallParts);
    const slices = partRanges(bytes.length, partSizeBytes).map(({ from, sizeBytes }) =>
      bytes.slice(from, from + sizeBytes),
    );
    const etag = await multipartEtag(await Promise.all(slices.map((slice) => hash("MD5", slice))));
    const composite = await compositeOf(await Promise.all(slices.map((slice) => hash("SHA-256", slice))));
    const sha256 = { partSizeBytes, parts: 9, composite };
    expect(plan).toMatchObject({ parts: 9, partsPerMessage: 8, partSizeBytes });
    expect(facts.map(({ type }) => type)).toEqual(["PartsMoved", "PartsMoved", "OriginalArchived"]);
    expect(facts.at(-1)).toEqual({
      type: "OriginalArchived",
      op: 1,
      key: command.key,
      sizeBytes: bytes.length,
      etag,
      sha256,
    });
    expect(await wasabi.head(command.key)).toEqual({ sizeBytes: bytes.length, etag });
    expect(await notedUploads(command.key)).toEqual([]);
  },
  120_000,
);

test("a part that does not arrive is told beside those that do", async () => {
  const bytes = content(3 * partSizeBytes);
  const command = await ingestCommand(bytes, null);
  const uploadPart: typeof wasabi.uploadPart = (key, uploadId, part) =>
    part.n === 2
      ? Promise.reject(new StoreFailure("WASABI_UNAVAILABLE", "Away."))
      : wasabi.uploadPart(key, uploadId, part);
  const { facts, plan } = await runStages(
    command,
    ingestOriginal,
    {},
    { ...smallParts, wasabi: { ...wasabi, uploadPart } },
  );
  expect(facts).toMatchObject([
    { type: "StepDeferred", code: "WASABI_UNAVAILABLE", parts: [2] },
    { type: "PartsMoved", parts: [{ n: 1 }, { n: 3 }], midstate: null },
  ]);
  expect(facts[0]).not.toHaveProperty("startOver");
  await wasabi.abortMultipart(command.key, plan?.uploadId ?? "");
});

test("an upload that was not the first one recorded is aborted by whoever opened it", async () => {
  const command = await ingestCommand(content(1_000), null);
  const { facts, plan } = await runStages(command, ingestOriginal, { open: { go: true, uploadId: "another" } }, bench);
  const parts = [{ n: 1, etag: "x" }];
  await expect(wasabi.completeMultipart(command.key, plan?.uploadId ?? "", parts)).rejects.toMatchObject({
    code: "UPLOAD_LOST",
  });
  expect(facts.filter(({ type }) => type === "OriginalArchived")).toEqual([]);
});

test.each([
  ["another digest", { sha256: "0".repeat(64) }, "StepFailed", "CHECKSUM_MISMATCH"],
  ["another size", { sizeBytes: 999 }, "StepFailed", "SIZE_MISMATCH"],
  ["no answer", { url: "http://127.0.0.1:1/x.mov" }, "StepDeferred", "SOURCE_UNREADABLE"],
  ["no such file", { url: `${config.wasabi.endpoint}/nothing/here` }, "StepDeferred", "ORIGINAL_MISSING"],
])("an original with %s never shows", async (_name, over, type, code) => {
  const command = { ...(await ingestCommand(content(1_000), null)), ...over };
  const { facts, plan } = await runStages(command, ingestOriginal);
  expect(facts).toMatchObject([{ type, code }]);
  expect(await wasabi.head(command.key)).toBeNull();
  if (plan !== undefined) await wasabi.abortMultipart(command.key, plan.uploadId);
  expect(await env.CATALOGUE.prepare("SELECT count(*) AS n FROM open_uploads").first("n")).toBe(0);
});
