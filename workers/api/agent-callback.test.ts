import { expect, test } from "vitest";
import { transferId } from "../../schemas/agent-protocol.ts";
import { editorKey } from "../../schemas/key.ts";
import {
  call,
  config,
  problemOf,
  quality,
  type Seeded,
  seedProxy,
  signedHeaders,
  storedState,
} from "../../test/door-worker.ts";

async function editorCopy(fileId: string) {
  const copy = (await storedState(fileId)).renditions[0]?.copies.find(({ tier }) => tier === "lucidlink");
  if (copy === undefined) throw new Error("no copy is wanted in LucidLink");
  return copy;
}

async function callback(seeded: Seeded, type: string, over: Record<string, unknown> = {}, id?: string) {
  const { fileId } = seeded.upload;
  const { op } = (await editorCopy(fileId)).step;
  const body = JSON.stringify({
    type,
    timestamp: new Date().toISOString(),
    data: {
      transferId: transferId({ fileId, quality, op }),
      fileId,
      quality,
      op,
      commandId: `${fileId}:1:1`,
      key: editorKey(seeded.upload, quality),
      sizeBytes: seeded.bytes.length,
      sha256: "a".repeat(64),
      problem: null,
      ...over,
    },
  });
  const headers = await signedHeaders(body, {
    secret: config.lucidAgentCallbackSecret,
    ...(id === undefined ? {} : { id }),
  });
  return call("/v1/agent/callback", { method: "POST", headers, body });
}

test("durable places the copy, once", async () => {
  const seeded = await seedProxy({ placed: true });
  const first = await callback(seeded, "transfer.durable", {}, "msg_durable");
  expect(await first.json()).toEqual({ outcome: "applied" });
  expect((await editorCopy(seeded.upload.fileId)).state).toBe("placed");
  expect(await seeded.door.view()).toMatchObject({ state: "distributed" });
  const again = await callback(seeded, "transfer.durable", {}, "msg_durable");
  expect(await again.json()).toEqual({ outcome: "duplicate" });
});

test("other bytes than the asset's are not called placed", async () => {
  const seeded = await seedProxy({ placed: true });
  const response = await callback(seeded, "transfer.durable", { sha256: "b".repeat(64) });
  expect(await response.json()).toEqual({ outcome: "ignored" });
  expect((await editorCopy(seeded.upload.fileId)).state).toBe("placing");
});

test("a full filespace waits with its code, and a refused path fails for good; the asset stays playable", async () => {
  const seeded = await seedProxy({ placed: true });
  const full = { code: "LUCIDLINK_FULL", message: "no room", retryable: true };
  expect(await (await callback(seeded, "transfer.failed", { problem: full })).json()).toEqual({ outcome: "applied" });
  expect(await editorCopy(seeded.upload.fileId)).toMatchObject({
    state: "placing",
    step: { phase: "waiting", problem: { code: "LUCIDLINK_FULL" } },
  });
  const refused = { code: "PATH_REFUSED", message: "a link leads out", retryable: false };
  await callback(seeded, "transfer.failed", { problem: refused });
  expect(await editorCopy(seeded.upload.fileId)).toMatchObject({ state: "failed" });
  expect(await seeded.door.view()).toMatchObject({ renditions: [{ status: "archived" }] });
});

test("an expired source URL is asked for again", async () => {
  const seeded = await seedProxy({ placed: true });
  const problem = { code: "SOURCE_EXPIRED", message: "the URL has expired", retryable: true };
  await callback(seeded, "transfer.source-expired", { problem });
  expect((await editorCopy(seeded.upload.fileId)).step.problem).toMatchObject({ code: "SOURCE_EXPIRED" });
});

test("an unknown asset is told, and a bad body is named", async () => {
  const seeded = await seedProxy({ placed: true });
  const unknown = await callback(seeded, "transfer.durable", { fileId: "never-existed" });
  expect(await unknown.json()).toEqual({ outcome: "unknown" });
  const bad = await problemOf(await callback(seeded, "transfer.durable", { op: 0 }));
  expect(bad.errors?.map(({ path }) => path)).toEqual(["data.op"]);
});

test("the upload webhook's secret does not open this door", async () => {
  const body = "{}";
  const response = await call("/v1/agent/callback", { method: "POST", headers: await signedHeaders(body), body });
  expect(await problemOf(response)).toMatchObject({ status: 401, code: "BAD_SIGNATURE" });
});
