/** Keys of upload webhooks by client: nobody has an object of another client copied into a project of their own. */
import { expect, test } from "vitest";
import type { UploadDeclaration } from "../../schemas/event.ts";
import { call, env, newUpload, problemOf, signedHeaders, silenceQueues, token } from "../../test/door-worker.ts";

const secretOf = (kid: string) => Uint8Array.from(new TextEncoder().encode(`not-a-secret-only-for-tests-${kid}`));
const text = (kid: string) => `whsec_${btoa(String.fromCharCode(...secretOf(kid)))}`;
const keys = {
  acme: { secret: text("acme"), clients: ["acme"] },
  "acme-next": { secret: text("acme-next"), clients: ["acme"] },
  rival: { secret: text("rival"), clients: ["rival"], sourcePrefixes: ["originals/rival/", "incoming/rival/"] },
  both: { secret: text("both"), clients: ["acme", "rival"] },
  hosts: { secret: text("hosts"), clients: ["acme"], sourceHosts: ["files.acme.example", "files.acme.example:8443"] },
  all: { secret: text("all"), clients: "*" },
};
const keyed = { ...env, UPLOAD_WEBHOOK_KEYS: JSON.stringify(keys) };
const admin = await token("admin");

async function post(
  upload: UploadDeclaration,
  kid: string,
  over: { id?: string; keyId?: string } = {},
): Promise<Response> {
  await silenceQueues(upload.fileId);
  const body = JSON.stringify({ type: "upload.completed", timestamp: new Date().toISOString(), data: upload });
  const headers = {
    ...(await signedHeaders(body, { secret: secretOf(kid), ...(over.id === undefined ? {} : { id: over.id }) })),
    ...(over.keyId === undefined ? {} : { "webhook-key-id": over.keyId }),
  };
  return call("/v1/webhooks/upload", { method: "POST", headers, body, env: keyed });
}

const exists = async ({ fileId }: UploadDeclaration) =>
  (await call(`/v1/assets/${fileId}`, { token: admin })).status === 200;
const wasabi = (key: string) => ({ source: { kind: "wasabi", key } as const });
const url = (address: string) => ({ source: { kind: "url", url: address } as const });
const refusalOf = async (response: Response) => {
  const { status, code, errors } = await problemOf(response);
  return [status, code, ...(errors ?? []).map(({ path }) => path)];
};

test("a client's own key is taken, and history names it", async () => {
  const upload = newUpload({ clientName: "acme" });
  expect((await post(upload, "acme", { id: "msg_own" })).status).toBe(202);
  const history = await call(`/v1/assets/${upload.fileId}/history`, { token: admin });
  const { entries } = (await history.json()) as { entries: { event: string; by: string }[] };
  expect(entries.find(({ event }) => event === "UploadNoticed")?.by).toBe("webhook:acme:msg_own");
});

test.each(["rival", "acme"])("a key speaks for no other client: %s is refused the other's", async (kid) => {
  const upload = newUpload({ clientName: kid === "rival" ? "acme" : "rival" });
  expect(await refusalOf(await post(upload, kid))).toEqual([403, "FORBIDDEN", "data.clientName"]);
  expect(await exists(upload)).toBe(false);
});

test.each([
  "originals/rival/film/secret.mov",
  "originals/acme-films/secret.mov",
  "originals/acmeX/secret.mov",
  "originals/acme",
  "Originals/acme/secret.mov",
  "originals/ACME/secret.mov",
  "originals/%61cme/secret.mov",
  "originals%2Facme/secret.mov",
  "originals//acme/secret.mov",
  "originals/аcme/secret.mov",
  "originals/acme\u200b/secret.mov",
  "originals\\acme\\secret.mov",
  " originals/acme/secret.mov",
  "incoming/acme/secret.mov",
  "secret.mov",
])("acme's key names no source but its own: %s", async (key) => {
  const upload = newUpload({ clientName: "acme", ...wasabi(key) });
  expect(await refusalOf(await post(upload, "acme"))).toEqual([403, "FORBIDDEN", "data.source.key"]);
  expect(await exists(upload)).toBe(false);
});

test.each([
  "originals/acme/../rival/secret.mov",
  "originals/acme/./secret.mov",
  "originals/acme/spring/otherfile1/secret.mov",
])("what lies under the prefix is still no other file's: %s", async (key) => {
  const upload = newUpload({ clientName: "acme", ...wasabi(key) });
  expect(await refusalOf(await post(upload, "acme"))).toEqual([400, "BAD_REQUEST", "data.source.key"]);
});

test("an escape in a key stands for itself, and leads nowhere", async () => {
  const upload = newUpload({ clientName: "acme", ...wasabi("originals/acme/%2e%2e/rival/secret.mov") });
  expect((await post(upload, "acme")).status).toBe(202);
});

test("prefixes that are set count instead of the client's own folder", async () => {
  const taken = newUpload({ clientName: "rival", ...wasabi("incoming/rival/take 1.mov") });
  expect((await post(taken, "rival")).status).toBe(202);
  const other = newUpload({ clientName: "rival", ...wasabi("incoming/rival-too/take 1.mov") });
  expect(await refusalOf(await post(other, "rival"))).toEqual([403, "FORBIDDEN", "data.source.key"]);
});

test("a key of two clients copies nothing from the one to the other", async () => {
  const crossed = newUpload({ clientName: "acme", ...wasabi("originals/rival/film/secret.mov") });
  expect(await refusalOf(await post(crossed, "both"))).toEqual([403, "FORBIDDEN", "data.source.key"]);
  for (const clientName of ["acme", "rival"]) expect((await post(newUpload({ clientName }), "both")).status).toBe(202);
});

test("a key for all may name every client and every source", async () => {
  const upload = newUpload({ clientName: "third", ...wasabi("anywhere/take 1.mov") });
  expect((await post(upload, "all")).status).toBe(202);
});

test.each([
  ["https://files.acme.example/a.mov", 202],
  ["https://FILES.acme.example:8443/a.mov", 202],
  ["https://files.acme.example.evil.example/a.mov", 403],
  ["https://files.acme.example@evil.example/a.mov", 403],
  ["https://files.acme.example:9/a.mov", 403],
  ["https://evil.example/files.acme.example/a.mov", 403],
])("a key with hosts fetches from these alone: %s is %i", async (address, status) => {
  const response = await post(newUpload({ clientName: "acme", ...url(address) }), "hosts");
  expect(response.status).toBe(status);
  if (status === 403) expect(await refusalOf(response)).toEqual([403, "FORBIDDEN", "data.source.url"]);
});

test("a file id of another client's tells nothing of that file", async () => {
  const known = newUpload({ clientName: "rival", fileName: "unannounced film.mov" });
  await post(known, "all");
  const response = await post(newUpload({ clientName: "acme", fileId: known.fileId }), "acme");
  const body = await response.clone().text();
  expect(await refusalOf(response)).toEqual([409, "CONFLICT", "data.fileId"]);
  expect(body).not.toMatch(/unannounced|rival/);
});

test("a key may be named, and is then the only one; both keys of a rotation are taken", async () => {
  for (const kid of ["acme", "acme-next"]) {
    expect((await post(newUpload({ clientName: "acme" }), kid)).status).toBe(202);
    expect((await post(newUpload({ clientName: "acme" }), kid, { keyId: kid })).status).toBe(202);
  }
  for (const keyId of ["rival", "nobody", "default", "", "__proto__"]) {
    const upload = newUpload({ clientName: "acme" });
    expect(await refusalOf(await post(upload, "acme", { keyId })), keyId).toEqual([401, "BAD_SIGNATURE"]);
    expect(await exists(upload)).toBe(false);
  }
  expect(await refusalOf(await post(newUpload(), "revoked"))).toEqual([401, "BAD_SIGNATURE"]);
});

test("each key has webhook-ids of its own", async () => {
  const [ours, theirs] = [newUpload({ clientName: "acme" }), newUpload({ clientName: "rival" })];
  expect((await post(ours, "acme", { id: "msg_1" })).status).toBe(202);
  expect((await post(theirs, "rival", { id: "msg_1" })).status).toBe(202);
});
