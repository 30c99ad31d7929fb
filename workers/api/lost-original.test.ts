/** An original that somebody deleted or replaced in Wasabi: refused by name, a problem, the loudest alert; and back again. */
import { createExecutionContext, createScheduledController } from "cloudflare:test";
import { beforeEach, expect, test } from "vitest";
import { assetDoor } from "../../durable-objects/asset-door.ts";
import type { Asset } from "../../schemas/asset.ts";
import { originalKey } from "../../schemas/key.ts";
import { call, env, newUpload, problemOf, silenceQueues, storedState, token } from "../../test/door-worker.ts";
import { localWasabiConfig } from "../../test/local-wasabi-worker.ts";
import { bodyOf, content } from "../../test/pipeline-worker.ts";
import { publishWithAlerts } from "../consumers/asset-alert.ts";
import { handleScheduled } from "../cron/schedule.ts";
import { wasabiStore } from "../stores/wasabi.ts";

const settings = localWasabiConfig();
const wasabi = wasabiStore(settings);
const here = { ...env, WASABI_ENDPOINT: settings.endpoint };
const wrongBucket = { ...here, WASABI_BUCKET: "no-such-bucket" };
const render = await token("render");
const admin = await token("admin");
const bytes = content(4_000);

beforeEach(async () => {
  const tables = ["alerts", "alert_holders", "assets", "copies"];
  await env.CATALOGUE.batch(tables.map((table) => env.CATALOGUE.prepare(`DELETE FROM ${table}`)));
});

async function put(key: string, body = bytes): Promise<string> {
  return wasabi.put(key, bodyOf(body), { sizeBytes: body.length, contentType: "video/quicktime" });
}

async function archived() {
  const upload = newUpload({ sizeBytes: bytes.length });
  const key = originalKey(upload);
  const etag = await put(key);
  const door = assetDoor(env.ASSET, upload.fileId);
  await silenceQueues(upload.fileId);
  const tell = (event: Parameters<typeof door.apply>[0]["event"]) => door.apply({ key: null, by: "test", event });
  await tell({ type: "UploadNoticed", upload });
  await tell({ type: "OriginalArchived", op: 1, key, sizeBytes: bytes.length, etag, sha256: null });
  const { fileId, sizeBytes } = upload;
  const ask = (json: object = {}, with_ = here) =>
    call(`/v1/assets/${fileId}/original/access`, { method: "POST", token: render, json, env: with_ });
  const asset = async () => (await (await call(`/v1/assets/${fileId}`, { token: admin })).json()) as Asset;
  const publish = async () => publishWithAlerts(env, [await asset()]);
  return { fileId, key, etag, sizeBytes, door, tell, ask, asset, publish };
}

async function alerts() {
  const answer = await call("/v1/admin/alerts", { token: admin });
  return ((await answer.json()) as { alerts: { cause: string; severity: string; code: string }[] }).alerts.map(
    ({ cause, severity, code }) => [cause, severity, code],
  );
}

async function tick(with_ = here): Promise<void> {
  const controller = createScheduledController({ scheduledTime: new Date(), cron: "* * * * *" });
  await handleScheduled(controller, with_, createExecutionContext());
}

const timeRanges = [{ startSeconds: 1, endSeconds: 2 }];
const shorter = content(3_000);
const sameSize = content(4_000, 2);

test.each<[string, object, (key: string) => Promise<unknown>, string]>([
  ["deleted", {}, (key) => wasabi.remove(key), "ORIGINAL_MISSING"],
  ["deleted", { timeRanges }, (key) => wasabi.remove(key), "ORIGINAL_MISSING"],
  ["replaced", {}, (key) => put(key, sameSize), "ETAG_MISMATCH"],
  ["replaced by a shorter one", { timeRanges }, (key) => put(key, shorter), "ETAG_MISMATCH"],
])(
  "an original that was %s, asked with %j, is 409 and the asset's problem until it is back",
  async (_how, json, spoil, code) => {
    const { fileId, key, etag, ask, asset, publish } = await archived();
    expect((await ask(json)).status).toBe(200);
    expect(await asset()).toMatchObject({ problem: null });
    await spoil(key);

    const { state, revision } = await asset();
    for (const _again of [1, 2]) {
      const response = await ask(json);
      expect(response.headers.has("retry-after")).toBe(false);
      expect(await problemOf(response)).toMatchObject({ status: 409, code, detail: expect.stringContaining(key) });
    }
    const lost = await asset();
    expect(lost).toMatchObject({
      state,
      revision: revision + 1,
      problem: { step: "original", code, retryable: false },
    });
    await publish();
    expect(await alerts()).toEqual([[`original-lost:${fileId}`, "critical", code]]);
    const evidence = await call(`/v1/assets/${fileId}/evidence`, { token: admin });
    expect(await evidence.json()).toEqual({ copies: [] });

    expect(await put(key)).toBe(etag);
    expect((await ask(json)).status).toBe(200);
    expect(await asset()).toMatchObject({ state, problem: null });
    await publish();
    expect(await alerts()).toEqual([]);
    const proven = await call(`/v1/assets/${fileId}/evidence`, { token: admin });
    expect(await proven.json()).toMatchObject({ copies: [{ quality: "original", key, etag }] });
  },
);

test("a wrong bucket makes no original lost", async () => {
  const { ask, asset } = await archived();
  const { revision } = await asset();
  for (const json of [{}, { timeRanges }]) {
    expect(await problemOf(await ask(json, wrongBucket))).toMatchObject({ status: 503, code: "UNAVAILABLE" });
  }
  expect(await asset()).toMatchObject({ revision, problem: null });
});

test("the timer finds what is back, and what a runner could not read; a wrong setting convinces it of nothing", async () => {
  const back = await archived();
  await wasabi.remove(back.key);
  await back.ask();
  await back.publish();
  await put(back.key);

  const { key, tell, asset, publish, fileId } = await archived();
  await wasabi.remove(key);
  await tell({ type: "TranscodeClaimed", generation: 1, runnerId: "runner-1", encoder: "libx264" });
  const lease = (await storedState(fileId)).job.lease?.token ?? "";
  await tell({ type: "TranscodeFailed", lease, code: "ORIGINAL_MISSING", message: "404", retryable: false });
  await publish();
  expect(await alerts()).toContainEqual([`failed:${fileId}`, "warning", "ORIGINAL_MISSING"]);

  await tick(wrongBucket);
  expect((await back.asset()).problem).toMatchObject({ step: "original" });
  expect((await asset()).problem).toMatchObject({ step: "transcode" });
  await tick();
  expect((await back.asset()).problem).toBeNull();
  expect((await asset()).problem).toMatchObject({ step: "original", code: "ORIGINAL_MISSING" });
  await Promise.all([publish(), back.publish()]);
  const [loudest, ...rest] = await alerts();
  expect(loudest).toEqual([`original-lost:${fileId}`, "critical", "ORIGINAL_MISSING"]);
  expect(rest).toContainEqual([`failed:${fileId}`, "warning", "ORIGINAL_MISSING"]);
  expect(rest.filter(([, severity]) => severity === "critical")).toEqual([]);
});
