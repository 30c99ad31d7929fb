import { expect, test } from "vitest";
import type { UploadDeclaration } from "../../schemas/event.ts";
import { call, newUpload, origin, postUpload, problemOf, signedHeaders, token } from "../../test/door-worker.ts";

const admin = await token("admin");

async function send(data: unknown, more: Record<string, unknown> = {}): Promise<Response> {
  const body = JSON.stringify({ type: "upload.completed", timestamp: "2026-11-23T10:00:00+02:00", data, ...more });
  return call("/v1/webhooks/upload", { method: "POST", headers: await signedHeaders(body), body });
}

const exists = async (fileId: string) => (await call(`/v1/assets/${fileId}`, { token: admin })).status === 200;

test("a new upload is 202 with links that lead to the asset; the same again is 200", async () => {
  const upload = newUpload();
  const response = await postUpload(upload, "msg_first");
  expect(response.status).toBe(202);
  const accepted = (await response.json()) as { links: { self: string } };
  expect(accepted).toMatchObject({ fileId: upload.fileId, state: "received" });
  const self = await call(new URL(accepted.links.self, origin).pathname, { token: admin });
  expect(await self.json()).toMatchObject({ fileId: upload.fileId, fileName: upload.fileName, revision: 1 });

  for (const id of ["msg_first", "msg_second"]) {
    const again = await postUpload(upload, id);
    expect(again.status, id).toBe(200);
    expect(await again.json()).toEqual(accepted);
  }
});

test("another file under a known id is 409 and names the fields", async () => {
  const upload = newUpload();
  await postUpload(upload);
  const response = await postUpload({ ...upload, sizeBytes: 1, fileName: "other.mov" });
  const problem = await problemOf(response);
  expect(problem).toMatchObject({ status: 409, code: "CONFLICT" });
  expect(problem.errors?.map(({ path }) => path).sort()).toEqual(["data.fileName", "data.sizeBytes"]);
  const asset = await call(`/v1/assets/${upload.fileId}`, { token: admin });
  expect(await asset.json()).toMatchObject({ sizeBytes: upload.sizeBytes, revision: 1 });
});

test("a known file with another priority is no other file", async () => {
  const upload = newUpload();
  await postUpload({ ...upload, priority: 10 });
  expect((await postUpload({ ...upload, priority: 90 })).status).toBe(200);
  expect((await postUpload(upload)).status).toBe(200);
});

test("a known file under another client is 409 although its key is then another client's", async () => {
  const upload = newUpload();
  await postUpload(upload);
  const problem = await problemOf(await postUpload({ ...upload, clientName: "rival" }));
  expect(problem).toMatchObject({ status: 409, code: "CONFLICT" });
  expect(problem.errors?.map(({ path }) => path)).toEqual(["data.clientName"]);
});

test("a known file's notice cannot lead to another file's original", async () => {
  const upload = newUpload();
  await postUpload(upload);
  const key = "originals/acme/spring/abcdefgh/secret.mov";
  const problem = await problemOf(await postUpload({ ...upload, source: { kind: "wasabi", key } }));
  expect(problem).toMatchObject({ status: 400, errors: [{ path: "data.source.key" }] });
});

const other = { kind: "wasabi", key: "incoming/another take.mov" } as const;

test.each<[path: string, over: Partial<UploadDeclaration>]>([
  ["data.sizeBytes", { sizeBytes: 99_999 }],
  ["data.projectName", { projectName: "autumn" }],
  ["data.priority", { priority: 90 }],
  ["data.sha256", { sha256: "a".repeat(64) }],
  ["data.source.key", { source: other }],
  ["data.fileId", { fileId: `other-file-${crypto.randomUUID().slice(0, 8)}` }],
])("the same webhook-id with another %s is 409 and changes nothing", async (path, over) => {
  const upload = newUpload({ source: { kind: "wasabi", key: "incoming/take.mov" } });
  const id = `msg_${crypto.randomUUID()}`;
  expect((await postUpload(upload, id)).status).toBe(202);
  const changed = { ...upload, ...over };
  const problem = await problemOf(await postUpload(changed, id));
  expect(problem).toMatchObject({ status: 409, code: "CONFLICT" });
  expect(problem.errors?.map((error) => error.path)).toEqual([path]);
  if (changed.fileId !== upload.fileId) expect(await exists(changed.fileId)).toBe(false);
  const asset = await call(`/v1/assets/${upload.fileId}`, { token: admin });
  expect(await asset.json()).toMatchObject({ sizeBytes: upload.sizeBytes, revision: 1 });
  expect((await postUpload(upload, id)).status).toBe(200);
});

test("of two files that are told at once under one webhook-id, one is taken", async () => {
  const id = `msg_${crypto.randomUUID()}`;
  const uploads = Array.from({ length: 6 }, () => newUpload());
  const statuses = await Promise.all(uploads.map(async (upload) => (await postUpload(upload, id)).status));
  expect(statuses.sort()).toEqual([202, 409, 409, 409, 409, 409]);
  const made = await Promise.all(uploads.map(({ fileId }) => exists(fileId)));
  expect(made.filter(Boolean)).toHaveLength(1);
});

test("a notice that was refused has said nothing: its webhook-id may carry the corrected data", async () => {
  const upload = newUpload();
  const id = `msg_${crypto.randomUUID()}`;
  const key = "originals/rival/film/abcdefgh/secret.mov";
  expect((await postUpload({ ...upload, source: { kind: "wasabi", key } }, id)).status).toBe(400);
  expect((await postUpload(upload, id)).status).toBe(202);
});

test.each([`${origin}/proxies/x/360p.mp4`, "http://media.test.:8080/x", "https://MEDIA.test/v1/assets"])(
  "a source at our own address (%s) is refused by name and makes nothing",
  async (url) => {
    const upload = newUpload({ source: { kind: "url", url } });
    const problem = await problemOf(await send(upload));
    expect(problem).toMatchObject({ status: 400, errors: [{ path: "data.source.url" }] });
    expect(await exists(upload.fileId)).toBe(false);
  },
);

test("a body that was changed after signing is 401 and makes nothing", async () => {
  const upload = newUpload();
  const body = JSON.stringify({ type: "upload.completed", timestamp: new Date().toISOString(), data: upload });
  const headers = await signedHeaders(body);
  const response = await call("/v1/webhooks/upload", { method: "POST", headers, body: body.replace("acme", "evil") });
  expect(await problemOf(response)).toMatchObject({ status: 401, code: "BAD_SIGNATURE" });
  expect(await exists(upload.fileId)).toBe(false);
});

test.each([
  ["data.fileId", { fileId: "../../etc" }],
  ["data.clientName", { clientName: "Acme Corp" }],
  ["data.projectName", { projectName: "" }],
  ["data.fileName", { fileName: "a/b.mov" }],
  ["data.fileName", { fileName: "x".repeat(256) }],
  ["data.sizeBytes", { sizeBytes: 0 }],
  ["data.sizeBytes", { sizeBytes: 1.5 }],
  ["data.sizeBytes", { sizeBytes: "100" }],
  ["data.sha256", { sha256: "abc" }],
  ["data.colour", { colour: "red" }],
  ["data.source", { source: undefined }],
  ["data.source.kind", { source: { kind: "ftp", url: "ftp://x" } }],
  ["data.source.url", { source: { kind: "url", url: "file:///etc/passwd" } }],
  ["data.source.key", { source: { kind: "wasabi", key: "" } }],
  ["data.source.key", { source: { kind: "wasabi", key: "incoming/half \ud83d pair.mov" } }],
  ["data.source.key", { source: { kind: "wasabi", key: "\udc00" } }],
  ["data.source.key", { source: { kind: "wasabi", key: "ü".repeat(513) } }],
  ["data.source.url", { source: { kind: "url", url: "https://files.example.com/\ud83d.mov" } }],
  ["data.fileName", { fileName: "half \ud83d pair.mov" }],
  ["data.source.key", { source: { kind: "wasabi", key: "/originals/a.mov" } }],
  ["data.source.key", { source: { kind: "wasabi", key: "uploads/../proxies/a.mp4" } }],
  ["data.source.key", { source: { kind: "wasabi", key: "proxies/acme/spring/12345678/360p.mp4" } }],
  ["data.source.key", { source: { kind: "wasabi", key: "originals/rival/film/abcdefgh/secret.mov" } }],
])("a bad %s is named, and nothing is made: %j", async (path, over) => {
  const upload = newUpload();
  const response = await send({ ...upload, ...over });
  const problem = await problemOf(response);
  expect(problem).toMatchObject({ status: 400, code: "BAD_REQUEST" });
  expect(problem.errors?.map((error) => error.path)).toContain(path);
  expect(await exists(upload.fileId)).toBe(false);
});

test.each([
  [1.5, "must be a whole number"],
  [-1, "must be more than 0"],
  [-1.5, "must be a whole number"],
  ["100", "must be a number"],
  [5 * 1024 ** 4 + 1, "must be at most 5497558138880 (5 TiB)"],
  [undefined, "is missing"],
])("a size of %j is told in one sentence", async (sizeBytes, message) => {
  const problem = await problemOf(await send({ ...newUpload(), sizeBytes }));
  expect(problem.errors).toEqual([{ path: "data.sizeBytes", message }]);
});

test("a body with tens of thousands of fields that are not known is answered in a few words", async () => {
  const strange = Object.fromEntries(Array.from({ length: 20_000 }, (_, n) => [`unknown-field-${n}`, 0]));
  const long = { ["k".repeat(100_000)]: 0 };
  const response = await send({ ...newUpload(), ...long, ...strange });
  const text = await response.text();
  expect(response.status).toBe(400);
  expect(text.length).toBeLessThan(10_000);
  expect(JSON.parse(text).errors).toHaveLength(20);
});

test("another type of webhook is refused by name", async () => {
  const problem = await problemOf(await send(newUpload(), { type: "upload.started" }));
  expect(problem.errors?.map(({ path }) => path)).toEqual(["type"]);
});

test("a signed body that is not JSON, not announced as JSON, or too large is refused", async () => {
  const post = async (body: string, over: Record<string, string> = {}) =>
    problemOf(
      await call("/v1/webhooks/upload", { method: "POST", headers: { ...(await signedHeaders(body)), ...over }, body }),
    );
  expect(await post("{not json")).toMatchObject({ status: 400, code: "BAD_REQUEST" });
  expect(await post("{}", { "content-type": "text/plain" })).toMatchObject({
    status: 415,
    code: "UNSUPPORTED_MEDIA_TYPE",
  });
  expect(await post(" ".repeat(1024 * 1024 + 1))).toMatchObject({ status: 413, code: "PAYLOAD_TOO_LARGE" });
});
