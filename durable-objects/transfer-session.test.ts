/** A transfer as its consumers meet it at the object's door: whose upload counts, who may move a part, what is kept. */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { afterEach, expect, test, vi } from "vitest";
import { originalKey } from "../schemas/key.ts";
import type { MovedPart, TransferPlan } from "../schemas/transfer.ts";
import { env, newUpload, silenceQueues, storedState } from "../test/door-worker.ts";
import { type AssetDoor, assetDoor } from "./asset-door.ts";

const step = { kind: "archive" } as const;
const op = 1;

afterEach(() => {
  vi.useRealTimers();
});

async function received(parts: number) {
  const upload = newUpload({ source: { kind: "url", url: "https://files.example.com/a.mov" } });
  const { fileId } = upload;
  const door = assetDoor(env.ASSET, fileId);
  await silenceQueues(fileId);
  await door.apply({ key: null, by: "test", event: { type: "UploadNoticed", upload } });
  const plan = (uploadId: string): TransferPlan => ({
    tier: "wasabi",
    key: originalKey(upload),
    uploadId,
    sizeBytes: parts,
    partSizeBytes: 1,
    parts,
    partsPerMessage: 4,
    pin: { name: "etag", value: '"v1"' },
    midstate: null,
  });
  return { upload, fileId, door, plan };
}

const part = (n: number, etag = `etag-${n}`): MovedPart => ({
  n,
  sizeBytes: 1,
  etag,
  md5: "d".repeat(32),
  sha256: "a".repeat(64),
});

const tell = (door: AssetDoor, parts: MovedPart[], holder = "m1:1") =>
  door.apply({
    key: null,
    by: "test",
    holder,
    event: { type: "PartsMoved", step, op, uploadId: "u1", parts, midstate: null },
  });

const countRows = (fileId: string, table: string) =>
  runInDurableObject(env.ASSET.getByName(fileId), (_instance, state) =>
    Number(state.storage.sql.exec(`SELECT count(*) AS n FROM ${table}`).one().n),
  );

test("the upload that was recorded first is the one, and a command that is over records none", async () => {
  const { door, plan } = await received(8);
  expect(await door.openTransfer(step, op, plan("u1"))).toEqual({ go: true, uploadId: "u1" });
  expect(await door.openTransfer(step, op, plan("u2"))).toEqual({ go: true, uploadId: "u1" });
  expect(await door.openTransfer(step, op + 1, plan("u3"))).toMatchObject({ go: false });
  expect(await Promise.all(["u1", "u2"].map((uploadId) => door.holdsUpload(uploadId)))).toEqual([true, false]);
});

test("a part has one mover at a time; one that falls silent loses it, one that reports gives it free", async () => {
  const { door, plan } = await received(8);
  await door.openTransfer(step, op, plan("u1"));
  const ask = (holder: string, parts = [1, 2, 3, 4]) => door.beginParts(step, op, { uploadId: "u1", parts, holder });
  expect(await ask("m1:1")).toEqual({ go: true, parts: [1, 2, 3, 4] });
  expect(await ask("m2:1")).toMatchObject({ go: false });
  expect(await ask("m1:1")).toEqual({ go: true, parts: [1, 2, 3, 4] });
  expect(await ask("m2:1", [5, 6, 7, 8])).toEqual({ go: true, parts: [5, 6, 7, 8] });

  await tell(door, [part(1), part(2)]);
  expect(await ask("m3:1")).toEqual({ go: true, parts: [3, 4] });
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 31_000 });
  expect(await ask("m4:1")).toEqual({ go: true, parts: [3, 4] });
  await tell(door, [part(3), part(4)], "m4:1");
  expect(await ask("m5:1")).toMatchObject({ go: false });
});

test("what was told first of a part stays, also through a restart", async () => {
  const { door, fileId, plan } = await received(6);
  await door.openTransfer(step, op, plan("u1"));
  await tell(door, [part(1), part(2)]);
  await tell(door, [part(2, "later"), part(3)]);
  await evictDurableObject(env.ASSET.getByName(fileId));
  const again = assetDoor(env.ASSET, fileId);
  expect(await again.movedParts("u1")).toEqual([part(1), part(2), part(3)]);
  expect((await storedState(fileId)).job.archive.transfer).toMatchObject({ uploadId: "u1", nextPart: 7 });
});

test("digests stay with the original that they prove; an upload that is given up leaves no row", async () => {
  const kept = await received(2);
  await kept.door.openTransfer(step, op, kept.plan("u1"));
  await tell(kept.door, [part(1), part(2)]);
  const { upload } = kept;
  const fact = { type: "OriginalArchived", op, key: originalKey(upload), sizeBytes: upload.sizeBytes } as const;
  const sha256 = { partSizeBytes: 1, parts: 2, composite: "c".repeat(64) };
  await kept.door.apply({ key: null, by: "test", event: { ...fact, etag: "e", sha256 } });
  expect(await countRows(kept.fileId, "moved_part")).toBe(2);

  const ended = await received(2);
  await ended.door.openTransfer(step, op, ended.plan("u1"));
  await ended.door.beginParts(step, op, { uploadId: "u1", parts: [1, 2], holder: "m1:1" });
  await tell(ended.door, [part(1)], "m2:1");
  await ended.door.apply({ key: null, by: "test", event: { type: "CancelRequested" } });
  expect(await countRows(ended.fileId, "moved_part")).toBe(0);
  expect(await countRows(ended.fileId, "part_hold")).toBe(0);
  expect(await ended.door.beginParts(step, op, { uploadId: "u1", parts: [2], holder: "m1:1" })).toMatchObject({
    go: false,
  });
});
