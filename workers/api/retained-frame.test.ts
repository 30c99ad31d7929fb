/** When a proxy leaves R2 is told by the policy in force wherever it is told: asked for, in frames, and to the application. */
import { createExecutionContext, createMessageBatch } from "cloudflare:test";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import type { SingleFrame } from "../../schemas/api.ts";
import type { Asset } from "../../schemas/asset.ts";
import { call, config, env, proven, quality, type Seeded, seedProxy, token } from "../../test/door-worker.ts";
import { handleQueue } from "../consumers/dispatch.ts";
import { publishAssets } from "../stores/catalogue.ts";
import { changeProjectPin, changeRetention } from "../stores/retention-policy.ts";

const dayMs = 24 * 60 * 60_000;
const ownDays = 3;
const project = { clientName: "frames-inc", projectName: "short" };
const admin = await token("admin");
const at = new Date().toISOString();
const line = { at, by: "test", action: "policy.changed", ...project, fileId: null, detail: {} };

beforeAll(async () => {
  const overrides = [{ ...project, retentionDays: { [quality]: ownDays } }];
  const policy = { retentionDays: config.policy.retentionDays, overrides };
  expect(await changeRetention(env.CATALOGUE, { policy, version: 0 }, line)).toBe(true);
});
afterEach(() => vi.restoreAllMocks());
afterAll(async () => {
  for (const table of ["policy", "project_pins"]) await env.CATALOGUE.prepare(`DELETE FROM ${table}`).run();
});

const edgeOf = (asset: Asset) => asset.renditions[0]?.copies.find(({ tier }) => tier === "r2");

/** Days from the last use until it leaves; those of the deployment's setting are others. */
function daysLeft(asset: Asset): number {
  const { placedAt = null, lastAccessAt = null, evictAfter = null } = edgeOf(asset) ?? {};
  return (Date.parse(evictAfter ?? "") - Date.parse(lastAccessAt ?? placedAt ?? "")) / dayMs;
}

async function watch(path: string): Promise<SingleFrame[]> {
  const headers = { upgrade: "websocket" };
  const { webSocket } = await call(path, { token: admin, headers, settle: false });
  if (webSocket === null) throw new Error("no socket");
  const seen: SingleFrame[] = [];
  webSocket.addEventListener("message", ({ data }) => {
    const frame = JSON.parse(String(data)) as SingleFrame | { type: "batch"; frames: SingleFrame[] };
    seen.push(...(frame.type === "batch" ? frame.frames : [frame]));
  });
  webSocket.accept();
  return seen;
}

function told(frames: SingleFrame[]) {
  return frames.flatMap((frame) => ("asset" in frame ? [[frame.type, daysLeft(frame.asset)]] : []));
}

const played = ({ door, jobId }: Seeded) =>
  door.apply({ key: null, by: "test", event: { type: "ProxyAccessed", tier: "r2", quality, jobId } });

test.each([
  ["of one asset", ({ upload }: Seeded) => `/v1/assets/${upload.fileId}/status`],
  ["of a project's assets", () => `/v1/status?client=${project.clientName}&project=${project.projectName}`],
])("in the frames %s, the first and those of changes", async (_which, path) => {
  const seeded = await seedProxy({ placed: true, ...project });
  const asset = await seeded.door.view();
  if (asset === null) throw new Error("there is no asset");
  await env.CATALOGUE.prepare("DELETE FROM assets").run();
  await publishAssets(env.CATALOGUE, [asset]);
  const frames = await watch(path(seeded));
  await expect.poll(() => told(frames)).toEqual([["snapshot", ownDays]]);
  await played(seeded);
  await expect.poll(() => told(frames)).toContainEqual(["asset", ownDays]);
  expect(new Set(told(frames).map(([, days]) => days))).toEqual(new Set([ownDays]));
});

test("by the deployment's setting where D1 is silent, and the socket does not wait for it", async () => {
  const seeded = await seedProxy({ placed: true, ...project });
  // What was read before is forgotten with it.
  await changeProjectPin(env.CATALOGUE, { ...project, pinnedUntil: null }, { ...line, action: "project.unpinned" });
  vi.spyOn(env.CATALOGUE, "batch").mockReturnValue(new Promise(() => undefined));
  const askedAtMs = Date.now();
  const frames = await watch(`/v1/assets/${seeded.upload.fileId}/status`);
  await expect.poll(() => told(frames)).toEqual([["snapshot", config.policy.retentionDays[quality]]]);
  expect(Date.now() - askedAtMs).toBeLessThan(5_000);
});

test.each([
  ["retry", undefined],
  ["prioritize", { priority: 70 }],
  ["promote", { qualities: [quality] }],
])("in the answer to %s", async (verb, json) => {
  const { upload } = await seedProxy({ placed: true, ...project });
  const path = `/v1/admin/assets/${upload.fileId}/${verb}`;
  const response = await call(path, { method: "POST", token: admin, ...(json && { json }) });
  expect(daysLeft((await response.json()) as Asset)).toBe(ownDays);
});

test("in the application's calls, and of a pinned project its pin", async () => {
  const { door, upload } = await seedProxy({ placed: true, ...project });
  const asset = await door.view();
  if (asset === null) throw new Error("there is no asset");
  expect(daysLeft(asset)).not.toBe(ownDays);
  const bodies: { data: { asset: Asset } }[] = [];
  vi.spyOn(globalThis, "fetch").mockImplementation(async (request) => {
    bodies.push(await (request as Request).json());
    return new Response(null, { status: 204 });
  });
  const { fileId } = upload;
  const notice = { type: "NotifyApp", id: `${fileId}:9:0`, fileId, event: "asset.distributed", timestamp: at, asset };
  const body = await proven(notice);
  const deliver = () => {
    const message = { id: crypto.randomUUID(), timestamp: new Date(), attempts: 1, body };
    return handleQueue(createMessageBatch("app-webhook", [message]), env, createExecutionContext());
  };
  await deliver();
  const pinnedUntil = new Date(Date.now() + 40 * dayMs).toISOString();
  await changeProjectPin(env.CATALOGUE, { ...project, pinnedUntil }, { ...line, action: "project.pinned" });
  await deliver();
  const [first, second] = bodies.map(({ data }) => data.asset);
  if (first === undefined || second === undefined) throw new Error("the application was not called");
  expect(daysLeft(first)).toBe(ownDays);
  expect(edgeOf(second)).toMatchObject({ evictAfter: pinnedUntil, pinnedUntil });
});
