/** A question about a file that never was leaves nothing behind, whichever door it comes through. */
import { runInDurableObject } from "cloudflare:test";
import { expect, test, vi } from "vitest";
import { assetDoor } from "../../durable-objects/asset-door.ts";
import { call, config, env, origin, signedHeaders, token } from "../../test/door-worker.ts";
import { signPlaybackUrl } from "../playback-url.ts";
import { routes } from "./route-table.ts";

let count = 0;
function strangeId(): string {
  count += 1;
  return `never-was-${crypto.randomUUID().slice(0, 8)}-${count}`;
}

interface Left {
  tables: string[];
  alarmAtMs: number | null;
}

const nothing: Left = { tables: [], alarmAtMs: null };

function leftIn(namespace: DurableObjectNamespace, name: string): Promise<Left> {
  return runInDurableObject(namespace.getByName(name), async (_instance, { storage }) => ({
    tables: [...storage.sql.exec("SELECT name FROM sqlite_master")].map((row) => String(row.name)),
    alarmAtMs: await storage.getAlarm(),
  }));
}

const later = new Date(Date.now() + 3_600_000).toISOString();
const jobId = "0123456789abcdef01234567";
const lease = "lease-of-nobody-at-all-000";
/** What each route that is about one file is asked with, so that nothing but the file is wrong. */
const bodies: Readonly<Record<string, unknown>> = {
  "POST /v1/assets/{fileId}/playback": { quality: "360p" },
  "POST /v1/assets/{fileId}/original/access": {},
  "POST /v1/runner/jobs/{jobId}/parts": { lease, quality: "360p", numbers: [1], partSizeBytes: 8 << 20 },
  "POST /v1/runner/jobs/{jobId}/source": { lease },
  "POST /v1/admin/assets/{fileId}/prioritize": { priority: 90 },
  "POST /v1/admin/assets/{fileId}/promote": { qualities: ["360p"] },
  "POST /v1/admin/assets/{fileId}/pin": { until: later },
  "POST /v1/admin/assets/{fileId}/evict": {},
};

const aboutOneFile = routes.flatMap((route) =>
  route.access.by === "token" && (route.path.includes("{fileId}") || "asset" in route.query.shape)
    ? [{ ...route, roles: route.access.roles, name: `${route.method} ${route.path}` }]
    : [],
);

test("there are such routes", () => {
  expect(aboutOneFile.length).toBeGreaterThan(15);
});

test.each(aboutOneFile)(
  "$name about a file that never was makes nothing",
  async ({ method, path, roles, socket, name, query }) => {
    const [role = "admin"] = roles;
    const fileId = strangeId();
    const search = "asset" in query.shape ? `?asset=${fileId}` : "";
    const response = await call(path.replace("{fileId}", fileId).replace("{jobId}", jobId) + search, {
      method,
      token: await token(role),
      ...(socket ? { headers: { upgrade: "websocket" } } : {}),
      ...(method === "POST" ? { json: bodies[name] ?? {} } : {}),
    });
    if (response.webSocket === null) expect(response.status).toBe(404);
    else {
      response.webSocket.accept();
      const heard = new Promise<string>((resolve) =>
        response.webSocket?.addEventListener("message", ({ data }) => resolve(String(data))),
      );
      const capabilities = { ffmpegVersion: "7", encoderReason: "" };
      const claim = { type: "claim", seq: 1, runnerId: "runner-1", encoder: "libx264", generation: 1, capabilities };
      response.webSocket.send(JSON.stringify(claim));
      expect(JSON.parse(await heard)).toMatchObject({ type: "refused", reason: "unknown" });
      response.webSocket.close();
    }
    expect(await leftIn(env.ASSET, fileId)).toEqual(nothing);
  },
);

test("a callback, a notice under a foreign key and a signed playback URL make nothing either", async () => {
  const callbackFile = strangeId();
  const callback = JSON.stringify({
    type: "transfer.durable",
    timestamp: new Date().toISOString(),
    data: {
      transferId: `${callbackFile}_360p_1`,
      ...{ fileId: callbackFile, quality: "360p", op: 1, commandId: "c", key: `Clients/a/b/${callbackFile}_360p.mp4` },
      ...{ sizeBytes: 1, sha256: "a".repeat(64), problem: null },
    },
  });
  const headers = await signedHeaders(callback, { secret: config.lucidAgentCallbackSecret });
  const answer = await call("/v1/agent/callback", { method: "POST", headers, body: callback });
  expect(await answer.json()).toEqual({ outcome: "unknown" });
  expect(await leftIn(env.ASSET, callbackFile)).toEqual(nothing);

  const refused = strangeId();
  const notice = JSON.stringify({
    type: "upload.completed",
    timestamp: new Date().toISOString(),
    data: {
      ...{ fileId: refused, clientName: "acme", projectName: "spring", fileName: "a.mov", sizeBytes: 1 },
      source: { kind: "wasabi", key: "originals/rival/film/abcdefgh/secret.mov" },
    },
  });
  const noticed = { method: "POST", headers: await signedHeaders(notice), body: notice };
  expect((await call("/v1/webhooks/upload", noticed)).status).toBe(400);
  expect(await leftIn(env.ASSET, refused)).toEqual(nothing);

  const watched = strangeId();
  const url = await signPlaybackUrl(origin, config.playbackKeys, {
    ...{ fileId: watched, jobId, quality: "360p", downloadName: null },
    expiresAtSeconds: Math.floor(Date.now() / 1000) + 600,
  });
  expect((await call(url)).status).toBe(404);
  expect(await leftIn(env.ASSET, watched)).toEqual(nothing);
});

test("no question that a consumer or a runner asks of an object without an asset makes anything", async () => {
  const fileId = strangeId();
  const door = assetDoor(env.ASSET, fileId);
  const step = { kind: "archive" } as const;
  const sha256 = { partSizeBytes: 8 << 20, parts: 1, composite: "a".repeat(64) };
  const transfer = { uploadId: "u", sizeBytes: 10, partSizeBytes: 5 << 20, parts: 1, partsPerMessage: 8 };
  const plan = { tier: "r2", key: `proxies/${jobId}/360p.mp4`, ...transfer, pin: null, midstate: null };
  expect(await door.view()).toBeNull();
  expect(await door.history(null, 10)).toEqual([]);
  expect(await door.evidence()).toEqual([]);
  expect(await door.begin(step, 1)).toMatchObject({ go: false });
  expect(await door.claim(step, 1, "complete", "h")).toMatchObject({ granted: false });
  expect(await door.openTransfer(step, 1, plan as never)).toMatchObject({ go: false });
  expect(await door.beginParts(step, 1, { uploadId: "u", parts: [1], holder: "h" })).toMatchObject({ go: false });
  expect(await door.movedParts("u")).toEqual([]);
  expect(await door.uploadedParts("u")).toEqual([]);
  expect(await door.partDigests("360p", jobId)).toEqual([]);
  expect(await door.openPart(jobId, lease, "360p")).toMatchObject({ ok: false, reason: "unknown" });
  const upload = { uploadId: "u", partSizeBytes: 8 << 20 };
  expect(await door.recordUpload(jobId, lease, "360p", upload)).toMatchObject({ ok: false, reason: "unknown" });
  expect(await door.holdsUpload("u")).toBe(false);
  expect(await door.leasedOriginal(jobId, lease)).toMatchObject({ ok: false, reason: "unknown" });
  expect(await door.locateProxy("360p", jobId)).toEqual({ found: false, superseded: false });
  const placed = { tier: "r2", quality: "360p", jobId, op: 1, sizeBytes: 1, etag: null, sha256 } as const;
  const told = await door.apply({ key: "k", by: "test", holder: "h", event: { type: "CopyPlaced", ...placed } });
  expect(told).toMatchObject({ outcome: "unknown", asset: null });
  expect(await door.apply({ nonsense: true } as never)).toMatchObject({ outcome: "rejected", asset: null });
  expect(await leftIn(env.ASSET, fileId)).toEqual(nothing);
});

test("to watch a client that has no files leaves nothing once the watcher has gone", async () => {
  const client = strangeId().slice(0, 60);
  const headers = { upgrade: "websocket" };
  const response = await call(`/v1/status?client=${client}`, { token: await token("viewer", [client]), headers });
  expect(response.status).toBe(101);
  response.webSocket?.accept();
  expect(await leftIn(env.FEED, `feed:${client}`)).toMatchObject({ alarmAtMs: expect.any(Number) });
  response.webSocket?.close();
  await vi.waitFor(async () => expect(await leftIn(env.FEED, `feed:${client}`)).toEqual(nothing), 10_000);
});
