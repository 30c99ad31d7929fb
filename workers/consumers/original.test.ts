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

const readBack = async (key: string) => {
  const found = await wasabi.head(key);
  if (found === null) return null;
  const { body } = await wasabi.getRange(key, { from: 0, to: found.sizeBytes - 1, ifMatch: found.etag });
  return hash("SHA-256", new Uint8Array(await new Response(body).arrayBuffer()));
};

/** Parts as small as S3 takes, of any size of object. */
const smallCopies = {
  ...bench,
  config: { ...config, policy: { ...config.policy, transferPartBytes: partSizeBytes } },
};

test("an original elsewhere in the bucket is copied to its canonical key by parts, once", async () => {
  const bytes = content(2 * partSizeBytes + 10);
  const sourceKey = `inbox/${newFileId()} +ü.mov`;
  await putOriginal(sourceKey, bytes);
  const command = archiveCommand(bytes.length, sourceKey);
  const { facts, calls, plan } = await runStages(command, archiveOriginal, {}, smallCopies);
  expect(plan).toMatchObject({ tier: "wasabi", parts: 1, pin: { name: "etag" } });
  expect(facts.at(-1)).toMatchObject({ type: "OriginalArchived", sizeBytes: bytes.length, sha256: null });
  expect(calls).toContain("claim complete");
  expect(await readBack(command.key)).toBe(await hash("SHA-256", bytes));
  expect(await notedUploads(command.key)).toEqual([]);
  // Whoever completes it once more, or begins once more, finds it there, also when its source is gone.
  await wasabi.remove(sourceKey);
  const { uploadId = "" } = plan ?? {};
  const pin = plan?.pin ?? null;
  const complete = { type: "complete", uploadId, partSizeBytes, pin, midstate: null } as const;
  expect((await run({ ...command, stage: complete }, archiveOriginal)).facts).toEqual([facts.at(-1)]);
  expect((await run(command, archiveOriginal)).facts).toEqual([facts.at(-1)]);
}, 120_000);

/** The local S3 refuses the condition on a copied part, so that it copies whatever lies at the source, as Ceph does. */
test.each(["another size", "the same size"])(
  "a source that is replaced by one of %s while it is copied never shows",
  async (size) => {
    const bytes = content(2_000);
    const sourceKey = `inbox/${newFileId()}.mov`;
    await putOriginal(sourceKey, bytes);
    const command = archiveCommand(bytes.length, sourceKey);
    const other = size === "the same size" ? bytes.toReversed() : content(3_000);
    const copyPart: typeof wasabi.copyPart = async (key, uploadId, part) => {
      await putOriginal(sourceKey, other);
      return wasabi.copyPart(key, uploadId, part);
    };
    const { facts, plan } = await runStages(
      command,
      archiveOriginal,
      {},
      { ...smallCopies, wasabi: { ...wasabi, copyPart } },
    );
    expect(facts.at(-1)).toMatchObject({ type: "StepDeferred", code: "SOURCE_CHANGED", startOver: true });
    expect(await wasabi.head(command.key)).toBeNull();
    await wasabi.abortMultipart(command.key, plan?.uploadId ?? "");
  },
);

test("a store that copies another object, as Ceph does for some names, archives nothing", async () => {
  const [sourceKey, otherKey] = [`inbox/${newFileId()}.mov`, `inbox/${newFileId()}.mov`];
  const bytes = content(2_000);
  await putOriginal(sourceKey, bytes);
  const otherEtag = await putOriginal(otherKey, bytes.toReversed());
  const command = archiveCommand(bytes.length, sourceKey);
  const copyPart: typeof wasabi.copyPart = async (key, uploadId, part) => {
    await wasabi.copyPart(key, uploadId, { ...part, source: { key: otherKey, etag: otherEtag } });
    // The local S3 answers a part's ETag that is no MD5.
    return otherEtag;
  };
  const workbench = { ...smallCopies, wasabi: { ...wasabi, copyPart } };
  const { facts, plan } = await runStages(command, archiveOriginal, {}, workbench);
  expect(facts.at(-1)).toMatchObject({ type: "StepDeferred", code: "SOURCE_CHANGED", startOver: true });
  expect(await wasabi.head(command.key)).toBeNull();
  await wasabi.abortMultipart(command.key, plan?.uploadId ?? "");
});

test("a store that honours the condition tells of the replaced source at once", async () => {
  const sourceKey = `inbox/${newFileId()}.mov`;
  await putOriginal(sourceKey, content(2_000));
  const copyPart = () => Promise.reject(new StoreFailure("ETAG_MISMATCH", "412"));
  const workbench = { ...smallCopies, wasabi: { ...wasabi, copyPart } };
  const { facts, plan } = await runStages(archiveCommand(2_000, sourceKey), archiveOriginal, {}, workbench);
  expect(facts).toMatchObject([{ type: "StepDeferred", code: "SOURCE_CHANGED", startOver: true, parts: [1] }]);
  await wasabi.abortMultipart(plan?.tier === "wasabi" ? plan.key : "", plan?.uploadId ?? "");
});

test("what else lies at an original's key is a failure, and is never overwritten", async () => {
  const stranger = content(1_234);
  const sourceKey = `inbox/${newFileId()}.mov`;
  await putOriginal(sourceKey, content(2_000));
  const copied = archiveCommand(2_000, sourceKey);
  const ingested = await ingestCommand(content(2_000), null);
  const refused = [{ type: "StepFailed", code: "CONFLICT" }];
  for (const key of [copied.key, ingested.key]) await putOriginal(key, stranger);
  expect((await runStages(copied, archiveOriginal)).facts).toMatchObject(refused);
  expect((await runStages(ingested, ingestOriginal)).facts).toMatchObject(refused);
  for (const key of [copied.key, ingested.key]) expect(await readBack(key)).toBe(await hash("SHA-256", stranger));
});

test("an object of the announced size whose MD5 is not the upload's is no original", async () => {
  const sourceKey = `inbox/${newFileId()}.mov`;
  const sourceEtag = await putOriginal(sourceKey, content(2_000));
  const [same, other] = [archiveCommand(2_000, sourceKey), archiveCommand(2_000, sourceKey)];
  await putOriginal(same.key, content(2_000));
  await putOriginal(other.key, content(2_000).toReversed());
  expect((await run(same, archiveOriginal)).facts).toMatchObject([{ type: "OriginalArchived", etag: sourceEtag }]);
  expect((await run(other, archiveOriginal)).facts).toMatchObject([{ type: "StepFailed", code: "CONFLICT" }]);
});

test.each([
  ["of another size", content(1_999)],
  ["of the same size", content(2_000).toReversed()],
])("an object %s that comes to the key during the transfer is not overwritten either", async (_name, stranger) => {
  const command = await ingestCommand(content(2_000), null);
  const uploadPart: typeof wasabi.uploadPart = async (key, uploadId, part) => {
    const etag = await wasabi.uploadPart(key, uploadId, part);
    await putOriginal(key, stranger);
    return etag;
  };
  const workbench = { ...smallParts, wasabi: { ...wasabi, uploadPart } };
  const { facts, plan } = await runStages(command, ingestOriginal, {}, workbench);
  expect(facts.at(-1)).toMatchObject({ type: "StepFailed", code: "CONFLICT" });
  expect(await readBack(command.key)).toBe(await hash("SHA-256", stranger));
  await wasabi.abortMultipart(command.key, plan?.uploadId ?? "");
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
  const part = { n: 1, sizeBytes: 1_000, body: bodyOf(content(1_000)) };
  await expect(wasabi.uploadPart(command.key, plan?.uploadId ?? "", part)).rejects.toMatchObject({
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
