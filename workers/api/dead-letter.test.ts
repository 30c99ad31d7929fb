/** Dead letters in an operator's hands: replayed, discarded, and what comes of either. */
import { createExecutionContext, createMessageBatch, getQueueResult, runDurableObjectAlarm } from "cloudflare:test";
import { beforeEach, expect, test, vi } from "vitest";
import type { AssetObject } from "../../durable-objects/asset-object.ts";
import type { Asset } from "../../schemas/asset.ts";
import type { DeadLetterBatchAnswer, DeadLetterView } from "../../schemas/dead-letter.ts";
import type { UploadDeclaration } from "../../schemas/event.ts";
import {
  call,
  env,
  newUpload,
  postUpload,
  problemOf,
  proven,
  type Sent,
  takeQueues,
  token,
} from "../../test/door-worker.ts";
import { handleQueue } from "../consumers/dispatch.ts";
import { publishAssets } from "../stores/catalogue.ts";

const admin = await token("admin");
const path = "/v1/admin/dead-letters";

/** What the assets' objects send, instead of the platform's queues. */
let sent: Sent[] = [];
let isAway = false;

beforeEach(async () => {
  sent = [];
  isAway = false;
  const tables = ["dead_letters", "alerts", "assets", "copies"];
  await env.CATALOGUE.batch(tables.map((table) => env.CATALOGUE.prepare(`DELETE FROM ${table}`)));
});

async function deliver(queue: string, body: unknown): Promise<string> {
  const id = crypto.randomUUID();
  const batch = createMessageBatch(queue, [{ id, timestamp: new Date(), attempts: 1, body }]);
  const ctx = createExecutionContext();
  await handleQueue(batch, env, ctx);
  expect((await getQueueResult(batch, ctx)).explicitAcks).toEqual([id]);
  return id;
}

const post = (address: string, options: { json?: unknown; token?: string } = {}) =>
  call(`${path}${address}`, { method: "POST", token: admin, env, ...options });

async function listed(query = "", bearer = admin): Promise<DeadLetterView[]> {
  const response = await call(`${path}${query}`, { token: bearer, env });
  return ((await response.json()) as { deadLetters: DeadLetterView[] }).deadLetters;
}

async function causes(bearer = admin): Promise<string[]> {
  const response = await call("/v1/admin/alerts", { token: bearer, env });
  return ((await response.json()) as { alerts: { cause: string }[] }).alerts.map(({ cause }) => cause);
}

async function newAsset(over: Partial<UploadDeclaration> = {}): Promise<string> {
  const upload = newUpload(over);
  const { fileId } = upload;
  await postUpload(upload);
  await vi.waitFor(async () => proven({ fileId }));
  await takeQueues(fileId, (message) => {
    if (isAway) throw new Error("the queue is away");
    sent.push(message);
  });
  return fileId;
}

const unproven = (fileId: string, uploadId = "upload-1") => ({
  type: "AbortUpload",
  id: `${fileId}:1:${uploadId}`,
  fileId,
  key: `proxies/acme/spring/${fileId}/360p.mp4`,
  uploadId,
});
const abort = (fileId: string, uploadId?: string) => proven(unproven(fileId, uploadId));

test("a replayed letter's command goes to its queue again, once, and the letter says who did it", async () => {
  const command = await abort(await newAsset());
  const id = await deliver("archive-dead", command);
  const before = Date.now();
  const answer = await post(`/${id}/replay`);
  expect(answer.status).toBe(200);
  const letter = (await answer.json()) as DeadLetterView;
  expect(letter).toMatchObject({ id, queue: "archive", resolution: "replayed", resolvedBy: "test-admin" });
  expect(letter).not.toHaveProperty("body");
  expect(Date.parse(letter.resolvedAt ?? "")).toBeGreaterThanOrEqual(before);
  await vi.waitFor(() => expect(sent).toEqual([{ queue: "urgent", body: command }]));

  expect(await (await post(`/${id}/replay`)).json()).toEqual(letter);
  expect(sent).toHaveLength(1);
  expect(await problemOf(await post(`/${id}/discard`))).toMatchObject({
    code: "CONFLICT",
    detail: `The letter was replayed by test-admin at ${letter.resolvedAt}.`,
  });
  expect(await listed()).toEqual([]);
  expect(await listed("?resolution=replayed")).toEqual([letter]);
});

test("a command that dies again is an open letter again, and its alert is raised again", async () => {
  const command = await abort(await newAsset());
  const first = await deliver("archive-dead", command);
  expect(await causes()).toEqual(["dead-letter:archive:AbortUpload"]);
  await post(`/${first}/replay`);
  expect(await causes()).toEqual([]);
  await vi.waitFor(() => expect(sent).toHaveLength(1));
  const second = await deliver("archive-dead", sent[0]?.body);
  expect(await listed()).toMatchObject([{ id: second, commandId: command.id, resolution: null }]);
  expect(await causes()).toEqual(["dead-letter:archive:AbortUpload"]);
});

test("the alert stays until the last letter of its cause is resolved", async () => {
  const ids: string[] = [];
  for (const _ of [1, 2]) ids.push(await deliver("archive-dead", await abort(await newAsset())));
  await deliver("r2-dead", { no: "command" });
  expect(await causes()).toHaveLength(2);
  await post(`/${ids[0]}/discard`);
  expect(await causes()).toContain("dead-letter:archive:AbortUpload");
  await post(`/${ids[1]}/replay`);
  expect(await causes()).toEqual(["dead-letter:r2:unreadable"]);
  await vi.waitFor(() => expect(sent).toHaveLength(1));
});

test.each([["a text"], [{ type: "EraseEverything", id: "x", fileId: "file-0001" }], [null]])(
  "what is no command (%j) cannot be replayed, only discarded",
  async (body) => {
    const id = await deliver("archive-dead", body);
    const problem = await problemOf(await post(`/${id}/replay`));
    expect(problem).toMatchObject({ status: 409, code: "BAD_MESSAGE" });
    expect(problem.detail).toContain("can be discarded");
    expect(await listed()).toHaveLength(1);
    expect(await (await post(`/${id}/discard`)).json()).toMatchObject({ id, resolution: "discarded" });
    expect(sent).toEqual([]);
    expect(await listed()).toEqual([]);
  },
);

test.each([
  ["without a proof", async (fileId: string) => unproven(fileId)],
  ["with another asset's proof", async (fileId: string) => ({ ...(await abort(await newAsset())), fileId })],
  ["with other contents", async (fileId: string) => ({ ...(await abort(fileId)), uploadId: "upload-of-another" })],
  ["of an asset that never was", async () => ({ ...(await abort(await newAsset())), fileId: "never-was-one" })],
])("a letter %s is refused: its asset never sent it", async (_name, forged) => {
  const id = await deliver("archive-dead", await forged(await newAsset()));
  const problem = await problemOf(await post(`/${id}/replay`));
  expect(problem).toMatchObject({ status: 409, code: "BAD_MESSAGE" });
  expect(problem.detail).toContain("does not know this message of archive for its own");
  expect(await listed()).toMatchObject([{ id, resolution: null }]);
  expect(sent).toEqual([]);
  expect((await post(`/${id}/discard`)).status).toBe(200);
});

test("while the queue is away its asset keeps what is to be sent again", async () => {
  const fileId = await newAsset();
  const command = await abort(fileId);
  const id = await deliver("archive-dead", command);
  isAway = true;
  expect((await post(`/${id}/replay`)).status).toBe(200);
  isAway = false;
  const stub = env.ASSET.getByName(fileId) as unknown as DurableObjectStub<AssetObject>;
  await vi.waitFor(
    async () => {
      await runDurableObjectAlarm(stub);
      expect(sent).toEqual([{ queue: "urgent", body: command }]);
    },
    { timeout: 10_000, interval: 100 },
  );
});

test("all of them, by the page: what cannot be replayed is named and does not hold up the rest", async () => {
  await deliver("archive-dead", "garbage");
  const fileId = await newAsset();
  const letter = async (n: number) => deliver("archive-dead", await abort(fileId, `upload-${n}`));
  await Promise.all(Array.from({ length: 60 }, (_, n) => letter(n)));
  await deliver("r2-dead", { no: "command" });
  const batch = async (verb: string, json: unknown) =>
    (await (await post(`/${verb}`, { json })).json()) as DeadLetterBatchAnswer;

  const first = await batch("replay", { queue: "archive" });
  expect(first).toMatchObject({ resolved: 49, left: 11, refused: [{ code: "BAD_MESSAGE" }] });
  const second = await batch("replay", { queue: "archive", cursor: first.cursor });
  expect(second).toEqual({ resolved: 11, left: 0, refused: [], cursor: null });
  await vi.waitFor(() => expect(sent).toHaveLength(60));
  expect(new Set(sent.map(({ body }) => (body as unknown as { uploadId: string }).uploadId)).size).toBe(60);

  expect((await listed()).map(({ queue }) => queue)).toEqual(["archive", "r2"]);
  expect(await batch("discard", {})).toEqual({ resolved: 2, left: 0, refused: [], cursor: null });
  expect(await listed()).toEqual([]);
  expect(await causes()).toEqual([]);
});

test("a replayed PublishCatalogue has the present published, whatever its letter says and whoever wrote it", async () => {
  const fileId = await newAsset();
  const { state, revision } = (await (await call(`/v1/assets/${fileId}`, { token: admin })).json()) as Asset;
  const forged = { fileId, state: "distributed", revision: 99 };
  const message = { type: "PublishCatalogue", id: `${fileId}:99:0`, fileId, asset: forged };
  const letter = await deliver("catalogue-dead", message);

  expect((await post(`/${letter}/replay`)).status).toBe(200);
  await vi.waitFor(() => expect(sent).toMatchObject([{ queue: "catalogue", body: { asset: { revision } } }]));
  await deliver("catalogue", sent[0]?.body);
  const page = (await (await call("/v1/assets", { token: admin })).json()) as { assets: object[] };
  expect(page.assets).toMatchObject([{ fileId, revision, state }]);
});

test("an admin of some clients reaches the letters about their files, and no others", async () => {
  const fileId = await newAsset({ clientName: "acme" });
  const asset = (await (await call(`/v1/assets/${fileId}`, { token: admin })).json()) as Asset;
  await publishAssets(env.CATALOGUE, [asset]);
  const acme = await token("admin", ["acme", "other"]);
  const rival = await token("admin", ["rival"]);
  const id = await deliver("archive-dead", await abort(fileId));
  const unreadable = await deliver("archive-dead", "garbage");

  expect((await listed("", acme)).map((letter) => letter.id)).toEqual([id]);
  expect(await listed("", rival)).toEqual([]);
  expect(await causes(acme)).toEqual([]);
  for (const [letter, bearer] of [
    [id, rival],
    [unreadable, acme],
    ["never-existed", admin],
  ] as const) {
    const problem = await problemOf(await post(`/${letter}/discard`, { token: bearer }));
    expect(problem).toMatchObject({ status: 404, code: "NOT_FOUND", detail: "There is no such dead letter." });
  }
  expect(await (await post("/discard", { json: {}, token: rival })).json()).toMatchObject({ resolved: 0, left: 0 });
  expect(await (await post("/replay", { json: {}, token: acme })).json()).toMatchObject({ resolved: 1, left: 0 });
  expect(await listed()).toMatchObject([{ id: unreadable }]);
});

test.each([{ queue: "nowhere" }, { commandType: "Erase" }, { cursor: "x" }, { limit: 3 }])(
  "a batch refuses %j by name",
  async (json) => {
    const problem = await problemOf(await post("/replay", { json }));
    expect(problem.errors?.map(({ path: field }) => field)).toEqual(Object.keys(json));
  },
);
