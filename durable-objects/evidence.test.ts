/** The evidence ledger: one row per object that is there, written with the fact that proves it and gone with the object. */
import { evictDurableObject, runInDurableObject, env as testEnv } from "cloudflare:test";
import { expect, test } from "vitest";
import type { AssetEvent, UploadDeclaration } from "../schemas/event.ts";
import { EvidencePage } from "../schemas/evidence.ts";
import { editorKey, originalKey } from "../schemas/key.ts";
import {
  call,
  env,
  newUpload,
  problemOf,
  quality,
  type Seeded,
  seedProxy,
  silenceQueues,
  storedState,
  token,
} from "../test/door-worker.ts";
import { type AssetDoor, assetDoor } from "./asset-door.ts";
import type { AssetObject } from "./asset-object.ts";

const sha256 = { partSizeBytes: 8 << 20, parts: 1, composite: "a".repeat(64) };

async function tell(door: AssetDoor, event: AssetEvent, by = "test"): Promise<void> {
  const { outcome, reason } = await door.apply({ key: crypto.randomUUID(), by, event });
  if (outcome !== "applied") throw new Error(`${event.type}: ${outcome} ${reason}`);
}

async function ledger(fileId: string) {
  const response = await call(`/v1/assets/${fileId}/evidence`, { token: await token("viewer", ["acme"]) });
  expect(response.status).toBe(200);
  return EvidencePage.parse(await response.json()).copies;
}

const named = async (fileId: string) => (await ledger(fileId)).map((each) => `${each.tier} ${each.quality}`).sort();

const stubOf = (fileId: string) =>
  (testEnv as unknown as { ASSET: DurableObjectNamespace<AssetObject> }).ASSET.getByName(fileId);

const renditionOf = async (fileId: string) => {
  const rendition = (await storedState(fileId)).renditions.find((each) => each.quality === quality);
  if (rendition === undefined) throw new Error("no rendition");
  return rendition;
};

async function copyOp(fileId: string, tier: "r2" | "lucidlink"): Promise<number> {
  return (await renditionOf(fileId)).copies.find((copy) => copy.tier === tier)?.step.op ?? 0;
}

test("original, archive, edge and editors each have their proof, told by who saw it", async () => {
  const before = Date.now();
  const { upload, door, jobId, bytes, etag, wasabiKey, edgeKey }: Seeded = await seedProxy({ placed: true });
  const { fileId } = upload;
  const sizeBytes = bytes.length;
  const op = await copyOp(fileId, "lucidlink");
  const fact = { type: "CopyPlaced", tier: "lucidlink", quality, jobId, op, sizeBytes, etag: null, sha256 } as const;
  await tell(door, fact, "lucid-agent");

  const copies = await ledger(fileId);
  const times = { verifiedAt: expect.any(String), verifiedBy: "test" };
  const rendition = { quality, sizeBytes, sha256, ...times, writtenAt: expect.any(String) };
  expect(copies).toEqual([
    {
      tier: "wasabi",
      quality: "original",
      key: originalKey(upload),
      sizeBytes: upload.sizeBytes,
      etag: "0".repeat(32),
      sha256: null,
      writtenAt: null,
      ...times,
      method: "HEAD: the announced size; the ETag is pinned",
    },
    {
      ...rendition,
      tier: "wasabi",
      key: wasabiKey,
      etag,
      method: "HEAD: size, and multipart ETag from the MD5 of every part as its runner wrote it",
    },
    {
      ...rendition,
      tier: "r2",
      key: edgeKey,
      etag: "r2-etag",
      method: expect.stringContaining("SHA-256 of every part"),
    },
    {
      ...rendition,
      tier: "lucidlink",
      key: `/${editorKey(upload, quality)}`,
      etag: null,
      verifiedBy: "lucid-agent",
      method: expect.stringContaining("lucid-agent"),
    },
  ]);
  for (const { verifiedAt } of copies) expect(Date.parse(verifiedAt)).toBeGreaterThanOrEqual(before);

  // The same keys as the asset itself tells.
  const asset = await door.view();
  const told = asset?.renditions.flatMap((each) => each.copies.map(({ tier, key }) => `${tier} ${key}`));
  expect(copies.slice(1).map(({ tier, key }) => `${tier} ${key}`)).toEqual(told);
});

test("an archive that is lost has no evidence until it is proven again", async () => {
  const { upload, door, jobId, bytes, etag } = await seedProxy({ placed: true });
  const { fileId } = upload;
  await tell(door, { type: "ArchiveLost", quality, jobId, message: "gone" });
  expect(await named(fileId)).toEqual(["r2 360p", "wasabi original"]);
  const { op } = (await renditionOf(fileId)).step;
  await tell(door, { type: "RenditionArchived", quality, jobId, op, etag, sizeBytes: bytes.length }, "RestoreArchive");
  expect((await ledger(fileId)).at(-1)).toMatchObject({ tier: "wasabi", quality, etag, verifiedBy: "RestoreArchive" });
});

test("a copy that left R2 has none; the archive keeps its own", async () => {
  const { upload, door, jobId } = await seedProxy({ placed: true });
  const { fileId } = upload;
  // Long unwatched: the stored state is made a year older, and read again.
  await runInDurableObject(stubOf(fileId), (_instance, { storage }) => {
    const document = JSON.parse(String(storage.sql.exec("SELECT document FROM asset").one().document));
    const aYearAgoMs = Date.now() - 365 * 24 * 3600 * 1000;
    for (const copy of document.renditions[0].copies) copy.placedAtMs = copy.lastAccessAtMs = aYearAgoMs;
    storage.sql.exec("UPDATE asset SET document = ?", JSON.stringify(document));
  });
  await evictDurableObject(stubOf(fileId));
  await silenceQueues(fileId);
  await tell(door, { type: "RetentionElapsed", quality });
  expect(await named(fileId)).toContain("r2 360p");
  await tell(door, { type: "CopyRemoved", tier: "r2", quality, jobId, op: await copyOp(fileId, "r2") });
  expect(await named(fileId)).toEqual(["wasabi 360p", "wasabi original"]);
});

test.each([
  ["that was being made has its proof from then on", false],
  ["that was there is proven again, and was not written again", true],
])("a copy %s when its removal is called off", async (_name, wasPlaced) => {
  const { upload, door, jobId, bytes } = await seedProxy({ placed: wasPlaced });
  const { fileId } = upload;
  const edgeProof = async () => (await ledger(fileId)).find(({ tier }) => tier === "r2");
  const before = await edgeProof();
  await tell(door, { type: "EvictionRequested", quality });
  const about = { tier: "r2", quality, jobId, op: await copyOp(fileId, "r2") } as const;
  const proof = { sizeBytes: bytes.length, etag: "r2-etag", sha256 };
  await tell(door, { type: "RemovalCalledOff", ...about, ...proof }, "RemoveEdgeCopy consumer");
  const copy = (await door.view())?.renditions[0]?.copies.find(({ tier }) => tier === "r2");
  const written = { writtenAt: wasPlaced ? before?.writtenAt : copy?.placedAt };
  expect(await edgeProof()).toMatchObject({ ...proof, ...written, verifiedBy: "RemoveEdgeCopy consumer" });
  expect(copy?.status).toBe("placed");
});

test("a fact that is refused or late leaves no evidence", async () => {
  const { upload, door, jobId, bytes } = await seedProxy({ placed: false });
  const { fileId } = upload;
  const op = await copyOp(fileId, "r2");
  const fact = { type: "CopyPlaced", tier: "r2", quality, jobId, op, sizeBytes: bytes.length, etag: "e" } as const;
  const wrong = { ...sha256, composite: "b".repeat(64) };
  const refused = await door.apply({ key: null, by: "test", event: { ...fact, sha256: wrong } });
  const late = await door.apply({ key: null, by: "test", event: { ...fact, sha256, op: op + 7 } });
  expect([refused.outcome, late.outcome]).toEqual(["rejected", "ignored"]);
  expect(await named(fileId)).toEqual(["wasabi 360p", "wasabi original"]);
});

test("what cannot be stored whole leaves no evidence either", async () => {
  const { upload, door, jobId, bytes } = await seedProxy({ placed: false });
  const { fileId } = upload;
  const revision = (await door.view())?.revision ?? 0;
  await runInDurableObject(stubOf(fileId), (_instance, { storage }) => {
    const taken = [revision + 1, 0, "test", "test", "test", "{}"];
    storage.sql.exec(
      "INSERT INTO history (revision, at_ms, event, by, state, detail) VALUES (?, ?, ?, ?, ?, ?)",
      ...taken,
    );
  });
  const op = await copyOp(fileId, "r2");
  const fact = {
    type: "CopyPlaced",
    tier: "r2",
    quality,
    jobId,
    op,
    sizeBytes: bytes.length,
    etag: "e",
    sha256,
  } as const;
  await runInDurableObject(stubOf(fileId), async (instance) => {
    await expect(instance.apply({ key: null, by: "test", event: fact })).rejects.toThrow("UNIQUE");
  });
  expect(await named(fileId)).toEqual(["wasabi 360p", "wasabi original"]);
});

async function archivedFrom(over: Partial<UploadDeclaration>, composite: typeof sha256 | null) {
  const upload = newUpload(over);
  const { fileId, sizeBytes } = upload;
  const door = assetDoor(env.ASSET, fileId);
  await silenceQueues(fileId);
  await tell(door, { type: "UploadNoticed", upload });
  const { op } = (await storedState(fileId)).job.archive;
  const key = originalKey(upload);
  await tell(
    door,
    { type: "OriginalArchived", op, key, sizeBytes, etag: "e", sha256: composite },
    "IngestOriginal consumer",
  );
  return (await ledger(fileId))[0];
}

test.each([
  [
    "fetched from a URL, hashed",
    { kind: "url", url: "https://files.test/a.mov" },
    sha256,
    "while it was fetched; HEAD",
  ],
  [
    "found where an earlier run had put it",
    { kind: "url", url: "https://files.test/a.mov" },
    null,
    "HEAD: the announced size",
  ],
  ["copied from elsewhere in the bucket", { kind: "wasabi", key: "inbox/a.mov" }, null, "copied by Wasabi; HEAD"],
] as const)("an original %s says so, and when it was written", async (_name, source, composite, method) => {
  const evidence = await archivedFrom({ source }, composite);
  expect(evidence).toMatchObject({ quality: "original", sha256: composite, verifiedBy: "IngestOriginal consumer" });
  expect(evidence?.method).toContain(method);
  expect(evidence?.writtenAt).toBe(evidence?.verifiedAt);
});

test("an original that was checked against its announced digest says so", async () => {
  const source = { kind: "url", url: "https://files.test/a.mov" } as const;
  expect((await archivedFrom({ source, sha256: "c".repeat(64) }, sha256))?.method).toContain(
    "of the whole file as announced",
  );
});

test("another client's evidence is 404", async () => {
  const { upload } = await seedProxy({ placed: false });
  const response = await call(`/v1/assets/${upload.fileId}/evidence`, { token: await token("viewer", ["rival"]) });
  expect(await problemOf(response)).toMatchObject({ status: 404, code: "NOT_FOUND" });
});
