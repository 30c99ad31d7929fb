/** Uploads whose consumer died between opening and handing over are aborted; what an asset holds is its own affair. */
import { createExecutionContext, createScheduledController } from "cloudflare:test";
import { beforeEach, expect, test } from "vitest";
import { edgeKey, proxyKey } from "../../schemas/key.ts";
import { env, quality } from "../../test/door-worker.ts";
import { openWasabiStub } from "../../test/wasabi-stub-worker.ts";
import { unservedCause } from "../stores/delivery-count.ts";
import { listAlerts, raiseAlert } from "../stores/incident.ts";
import { noteUpload } from "../stores/open-upload.ts";
import { handleScheduled } from "./schedule.ts";

const hourMs = 60 * 60_000;
const nowMs = Date.UTC(2026, 5, 1);
const fileId = "abandoned-1";
const key = proxyKey({ clientName: "acme", projectName: "spring", fileId }, quality);

beforeEach(() => env.CATALOGUE.prepare("DELETE FROM open_uploads").run());

const note = (uploadId: string, over: { key?: string; hoursOld?: number } = {}) =>
  noteUpload(env.CATALOGUE, {
    uploadId,
    key: over.key ?? key,
    fileId,
    openedAt: new Date(nowMs - (over.hoursOld ?? 3) * hourMs).toISOString(),
  });

async function tick(over: Partial<typeof env> = {}): Promise<string[]> {
  const controller = createScheduledController({ scheduledTime: new Date(nowMs), cron: "* * * * *" });
  await handleScheduled(controller, { ...env, ...over }, createExecutionContext());
  const { results } = await env.CATALOGUE.prepare("SELECT upload_id FROM open_uploads ORDER BY upload_id").all();
  return results.map(({ upload_id }) => String(upload_id));
}

test("old notes are aborted in their store and forgotten, young ones left alone", async () => {
  const stub = openWasabiStub();
  const edge = edgeKey("00112233445566778899aabb", quality);
  const { uploadId } = await env.PROXIES.createMultipartUpload(edge);
  await note("old");
  await note("young", { hoursOld: 1 });
  await note(uploadId, { key: edge });
  expect(await tick()).toEqual(["young"]);
  expect(stub.aborted).toEqual(["old"]);
  await expect(env.PROXIES.resumeMultipartUpload(edge, uploadId).complete([])).rejects.toThrow();
});

test("a note of what an asset has taken over is forgotten, its upload is not touched", async () => {
  const stub = openWasabiStub();
  await note("lost");
  const held = {
    getByName: () => ({ holdsUpload: async (uploadId: string) => uploadId === "held" }),
  } as unknown as typeof env.ASSET;
  await note("held");
  expect(await tick({ ASSET: held })).toEqual([]);
  expect(stub.aborted).toEqual(["lost"]);
});

test("an asset that does not answer may hold it", async () => {
  const stub = openWasabiStub();
  await note("old");
  const silent = { getByName: () => ({ holdsUpload: () => Promise.reject(new Error("it moves")) }) };
  expect(await tick({ ASSET: silent as unknown as typeof env.ASSET })).toEqual(["old"]);
  expect(stub.aborted).toEqual([]);
});

test("nobody asking any more clears the alert of viewers who were not served, an hour after the last", async () => {
  const alert = { cause: unservedCause, code: "WASABI_UNAVAILABLE", message: "down", fileId: null } as const;
  const open = async () => (await listAlerts(env.CATALOGUE, 100)).filter(({ cause }) => cause === unservedCause).length;
  await raiseAlert(env.CATALOGUE, alert, new Date(nowMs - hourMs).toISOString());
  await tick();
  expect(await open()).toBe(1);
  await raiseAlert(env.CATALOGUE, alert, new Date(nowMs - hourMs - 1).toISOString());
  await tick();
  expect(await open()).toBe(0);
});
