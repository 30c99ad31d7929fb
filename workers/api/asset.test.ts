/** Reading assets: what a caller sees, and what looks as if it did not exist. */
import { expect, test } from "vitest";
import type { StatusFrame } from "../../schemas/api.ts";
import type { AuditEntry } from "../../schemas/audit.ts";
import { originalKey } from "../../schemas/key.ts";
import {
  call,
  config,
  env,
  newUpload,
  postUpload,
  problemOf,
  quality,
  seedLeased,
  seedProxy,
  token,
} from "../../test/door-worker.ts";
import { probe } from "../../test/simulation/asset-sample.ts";
import { openWasabiStub } from "../../test/wasabi-stub-worker.ts";
import { verifyPlaybackUrl } from "../playback-url.ts";
import { publishAssets } from "../stores/catalogue.ts";

const acme = await token("viewer", ["acme"]);
const rival = await token("viewer", ["rival"]);
const admin = await token("admin");

test("another client's asset answers 404 at every door, as one that never was", async () => {
  const upload = newUpload({ clientName: "acme" });
  await postUpload(upload);
  const rivalAdmin = await token("admin", ["rival"]);
  const doors: [method: string, path: string, token: string][] = [
    ["GET", "", rival],
    ["GET", "/history", rival],
    ["POST", "/playback", rival],
    ["POST", "/original/access", await token("render", ["rival"])],
  ];
  for (const [method, path, bearer] of doors) {
    const response = await call(`/v1/assets/${upload.fileId}${path}`, { method, token: bearer });
    const stranger = await call(`/v1/assets/never-existed${path}`, { method, token: bearer });
    const [problem, other] = [await problemOf(response), await problemOf(stranger)];
    expect(problem).toMatchObject({ status: 404, code: "NOT_FOUND" });
    expect({ ...problem, requestId: "" }).toEqual({ ...other, requestId: "" });
  }
  const socket = await call(`/v1/assets/${upload.fileId}/status`, { token: rival, headers: { upgrade: "websocket" } });
  expect(socket.status).toBe(404);
  const retry = await call(`/v1/admin/assets/${upload.fileId}/retry`, { method: "POST", token: rivalAdmin });
  expect(retry.status).toBe(404);
  expect((await call(`/v1/assets/${upload.fileId}`, { token: acme })).status).toBe(200);
});

test("the list holds the token's clients only, page by page", async () => {
  for (const clientName of ["acme", "rival"]) {
    for (const projectName of ["one", "two", "three"]) {
      const upload = newUpload({ clientName, projectName, fileName: `listed ${projectName}.mov` });
      await postUpload(upload);
      const asset = await call(`/v1/assets/${upload.fileId}`, { token: admin });
      await publishAssets(env.CATALOGUE, [await asset.json()]);
    }
  }
  const list = async (query: string, bearer: string) =>
    (await (await call(`/v1/assets?${query}`, { token: bearer })).json()) as {
      assets: { clientName: string; projectName: string }[];
      cursor: string | null;
    };
  const first = await list("q=listed&limit=2", acme);
  expect(first.assets).toHaveLength(2);
  const second = await list(`q=listed&limit=2&cursor=${first.cursor}`, acme);
  const seen = [...first.assets, ...second.assets];
  expect(seen.map(({ projectName }) => projectName).sort()).toEqual(["one", "three", "two"]);
  expect(new Set(seen.map(({ clientName }) => clientName))).toEqual(new Set(["acme"]));
  expect(second.cursor).toBeNull();
  expect(await list("client=rival", acme)).toEqual({ assets: [], cursor: null });
  expect((await list("q=listed", admin)).assets).toHaveLength(6);
  const byCreation = await list("q=listed&limit=2&order=created", acme);
  const rest = await list(`q=listed&limit=2&order=created&cursor=${byCreation.cursor}`, acme);
  expect([...byCreation.assets, ...rest.assets].map(({ projectName }) => projectName)).toEqual(["three", "two", "one"]);
  const mixed = await call(`/v1/assets?cursor=${byCreation.cursor}`, { token: acme });
  expect((await problemOf(mixed)).detail).toContain("order=changed");
});

test.each(["limit=0", "limit=x", "state=gone", "client=A+B", "colour=red", "order=size", "limit=1&limit=2"])(
  "the list refuses ?%s by name",
  async (query) => {
    const problem = await problemOf(await call(`/v1/assets?${query}`, { token: admin }));
    expect(problem.errors?.map(({ path }) => path)).toEqual([query.split("=")[0]]);
  },
);

test("a cursor that was not handed out is 400", async () => {
  const problem = await problemOf(await call("/v1/assets?cursor=abc", { token: admin }));
  expect(problem).toMatchObject({ status: 400, code: "BAD_REQUEST" });
});

test("history is newest first", async () => {
  const { upload } = await seedLeased();
  const response = await call(`/v1/assets/${upload.fileId}/history`, { token: acme });
  const page = (await response.json()) as { entries: { revision: number; event: string }[]; cursor: null };
  expect(page.entries.map(({ event }) => event).reverse()).toEqual([
    "UploadNoticed",
    "OriginalArchived",
    "TranscodeClaimed",
  ]);
  expect(page.cursor).toBeNull();
});

test("playback is 409 until something can be played, then a URL that verifies", async () => {
  const early = await seedLeased();
  const refused = await call(`/v1/assets/${early.upload.fileId}/playback`, { method: "POST", token: acme });
  expect(await problemOf(refused)).toMatchObject({ status: 409, code: "NOT_READY" });

  const { upload, jobId } = await seedProxy({ placed: false });
  const path = `/v1/assets/${upload.fileId}/playback`;
  const response = await call(path, { method: "POST", token: acme, json: { ttlSeconds: 60, download: true } });
  const grant = (await response.json()) as { url: string; quality: string; expiresAt: string };
  const target = await verifyPlaybackUrl(new URL(grant.url), config.playbackKeys, Date.now());
  expect(target).toEqual({
    fileId: upload.fileId,
    jobId,
    quality,
    downloadName: "Señal “A” 1_360p.mp4",
    expiresAtSeconds: Date.parse(grant.expiresAt) / 1000,
    key: `proxies/${jobId}/${quality}.mp4`,
  });
  const other = await call(path, { method: "POST", token: acme, json: { quality: "2160p" } });
  expect(await problemOf(other)).toMatchObject({ code: "NOT_READY" });
  const bad = await problemOf(await call(path, { method: "POST", token: acme, json: { ttlSeconds: 1, speed: 2 } }));
  expect(bad.errors?.map(({ path: field }) => field).sort()).toEqual(["speed", "ttlSeconds"]);
});

test("original access presigns the original alone, for roles that render", async () => {
  const { upload } = await seedLeased();
  const path = `/v1/assets/${upload.fileId}/original/access`;
  const timeRanges = [{ startSeconds: 1, endSeconds: 2 }];
  const response = await call(path, { method: "POST", token: await token("render"), json: { timeRanges } });
  const grant = (await response.json()) as { url: string };
  const { url, ...rest } = grant;
  expect(new URL(url).pathname).toContain(`/originals/acme/spring/${upload.fileId}/`);
  expect(new URL(url).searchParams.get("X-Amz-Expires")).toBe("900");
  expect(rest).toMatchObject({
    sizeBytes: upload.sizeBytes,
    whole: true,
    header: [],
    segments: [{ startSeconds: 1, endSeconds: 2, ranges: [{ from: 0, to: upload.sizeBytes - 1 }] }],
  });
  const bad = await call(path, {
    method: "POST",
    token: await token("render"),
    json: { timeRanges: [{ startSeconds: 2, endSeconds: 2 }] },
  });
  expect((await problemOf(bad)).errors?.map(({ path: field }) => field)).toEqual(["timeRanges[0]"]);
});

test("original access: each grant is in the ledger, with what was read to find its ranges", async () => {
  const wasabi = openWasabiStub();
  const { upload } = await seedLeased();
  const path = `/v1/assets/${upload.fileId}/original/access`;
  const key = originalKey(upload);
  const ask = async (json: object) => {
    const response = await call(path, { method: "POST", token: await token("render"), json });
    const { whole, wholeBecause } = (await response.json()) as { whole: boolean; wholeBecause: string };
    return { status: response.status, whole, wholeBecause };
  };
  wasabi.objects.set(key, { bytes: new Uint8Array(upload.sizeBytes), etag: "0".repeat(32) });
  expect(await ask({})).toEqual({ status: 200, whole: true, wholeBecause: "not-asked" });
  expect(wasabi.requests.map((request) => request.split(" ")[0])).toEqual(["HEAD"]);
  const timeRanges = [{ startSeconds: 1, endSeconds: 2 }];
  expect(await ask({ timeRanges })).toEqual({ status: 200, whole: true, wholeBecause: "not-mov-or-mp4" });
  wasabi.broken = 503;
  expect(await ask({ timeRanges })).toEqual({ status: 200, whole: true, wholeBecause: "index-unreachable" });
  wasabi.broken = null;
  wasabi.objects.set(key, { bytes: new Uint8Array(upload.sizeBytes), etag: "another" });
  expect((await ask({ timeRanges })).status).toBe(409);
  const { results } = await env.CATALOGUE.prepare(
    `SELECT sub, role, time_ranges, whole, granted_bytes, measured_bytes FROM egress_grants
     WHERE file_id = ? ORDER BY granted_at, measured_bytes`,
  )
    .bind(upload.fileId)
    .all();
  const granted = { sub: "test-render", role: "render", whole: 1, granted_bytes: upload.sizeBytes };
  expect(results).toHaveLength(3);
  expect(results).toContainEqual({ ...granted, time_ranges: null, measured_bytes: 0 });
  expect(results).toContainEqual({ ...granted, time_ranges: JSON.stringify(timeRanges), measured_bytes: 16 });
  const audit = await call("/v1/admin/audit", { token: await token("admin", ["acme"]) });
  const { entries } = (await audit.json()) as { entries: AuditEntry[] };
  const lines = entries.filter(({ fileId }) => fileId === upload.fileId);
  expect(lines).toHaveLength(3);
  for (const { by, action, detail } of lines) {
    expect({ by, action }).toEqual({ by: "render:test-render", action: "original.opened" });
    const grants = env.CATALOGUE.prepare("SELECT file_id FROM egress_grants WHERE id = ?").bind(detail.grantId);
    expect(await grants.first("file_id")).toBe(upload.fileId);
    expect(detail).toMatchObject({ whole: true, grantedBytes: upload.sizeBytes });
    expect(JSON.stringify(detail)).not.toContain("X-Amz-Signature");
  }
});

test("a socket opens by token or by a ticket that works once, and starts with a snapshot", async () => {
  const upload = newUpload();
  await postUpload(upload);
  const headers = { upgrade: "websocket" };
  const snapshotOf = async (response: Response) => {
    const socket = response.webSocket;
    if (!socket) throw new Error(`no socket: ${response.status} ${await response.text()}`);
    const frame = new Promise<StatusFrame>((resolve) => {
      socket.addEventListener("message", ({ data }) => resolve(JSON.parse(String(data))), { once: true });
    });
    socket.accept();
    const received = await frame;
    socket.close();
    return received;
  };
  const path = `/v1/assets/${upload.fileId}/status`;
  const snapshot = { type: "snapshot", asset: { fileId: upload.fileId, revision: 1 } };
  expect(await snapshotOf(await call(path, { token: acme, headers }))).toMatchObject(snapshot);

  const issued = await call("/v1/tickets", { method: "POST", token: acme });
  const { ticket } = (await issued.json()) as { ticket: string };
  expect(await snapshotOf(await call(`${path}?ticket=${ticket}`, { headers }))).toMatchObject(snapshot);
  expect((await call(`${path}?ticket=${ticket}`, { headers })).status).toBe(401);
  expect((await call(`/v1/assets?ticket=${ticket}`)).status).toBe(401);
});

test("the feed is kept to the token's clients", async () => {
  const headers = { upgrade: "websocket" };
  const open = async (query: string, bearer: string) => {
    const response = await call(`/v1/status${query}`, { token: bearer, headers });
    response.webSocket?.accept();
    response.webSocket?.close();
    return response.status;
  };
  expect(await open("?client=acme&project=spring", acme)).toBe(101);
  expect(await open("", acme)).toBe(101);
  expect(await open("", admin)).toBe(101);
  expect(await open("?client=acme", rival)).toBe(404);
  expect(await open("", await token("viewer", ["acme", "rival"]))).toBe(400);
});

test("the operator sees dead letters and alerts, and retries", async () => {
  const upload = newUpload();
  await postUpload(upload);
  expect(await (await call("/v1/admin/dead-letters", { token: admin })).json()).toEqual({
    deadLetters: [],
    cursor: null,
  });
  expect(await (await call("/v1/admin/alerts", { token: admin })).json()).toEqual({ alerts: [] });
  const retried = await call(`/v1/admin/assets/${upload.fileId}/retry`, { method: "POST", token: admin });
  expect(retried.status).toBe(200);
  expect(await retried.json()).toMatchObject({ fileId: upload.fileId, state: "received" });
});

test("a runner gets part URLs of one recorded upload, and the original, under its lease alone", async () => {
  const { upload, jobId, lease, door } = await seedLeased();
  await door.apply({ key: "probed", by: "test", event: { type: "SourceProbed", lease, source: probe(360) } });
  const runner = await token("runner");
  const post = (path: string, json: unknown) =>
    call(`/v1/runner/jobs/${jobId}/${path}?asset=${upload.fileId}`, { method: "POST", token: runner, json });
  const wanted = { lease, quality, partSizeBytes: 8 << 20, numbers: [1, 2] };
  const wasabi = openWasabiStub();
  const grants = await Promise.all([post("parts", wanted), post("parts", wanted)]);
  const urls: URL[] = [];
  for (const grant of grants) {
    expect(grant.status).toBe(200);
    const { parts } = (await grant.json()) as { parts: { n: number; url: string }[] };
    expect(parts.map(({ n }) => n)).toEqual([1, 2]);
    urls.push(...parts.map(({ url }) => new URL(url)));
  }
  const uploadIds = new Set(urls.map(({ searchParams }) => searchParams.get("uploadId")));
  expect(uploadIds.size).toBe(1);
  expect(wasabi.created.filter((id) => !wasabi.aborted.includes(id))).toEqual([...uploadIds]);

  const source = await post("source", { lease });
  expect(await source.json()).toMatchObject({ sizeBytes: upload.sizeBytes, etag: "0".repeat(32) });
  for (const [path, body] of [
    ["parts", { ...wanted, lease: "x".repeat(32) }],
    ["source", { lease: "x".repeat(32) }],
  ] as const) {
    expect(await problemOf(await post(path, body))).toMatchObject({ status: 409, code: "LEASE_LOST" });
  }
  const bad = await problemOf(await post("parts", { ...wanted, numbers: [0] }));
  expect(bad.errors?.map(({ path }) => path)).toEqual(["numbers[0]"]);
});
