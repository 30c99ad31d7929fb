/** What becomes of a delivered message: acked, delivered again, or kept as a dead letter. */
import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { env as bindings } from "cloudflare:workers";
import { afterEach, expect, inject, test, vi } from "vitest";
import { assetDoor } from "../../durable-objects/asset-door.ts";
import { originalKey } from "../../schemas/key.ts";
import { config, env as doorEnv, newUpload, proven, silenceQueues } from "../../test/door-worker.ts";
import type { Env } from "../stores/config.ts";
import { listAlerts, listDeadLetters } from "../stores/incident.ts";
import { wasabiStore } from "../stores/wasabi.ts";
import { verifyWebhook } from "../webhook-signature.ts";
import { keepDeadLetter } from "./dead-letter.ts";
import { handleQueue, retryDelaySeconds } from "./dispatch.ts";

const env = { ...(bindings as unknown as Env), WASABI_ENDPOINT: inject("wasabiEndpoint") };

afterEach(() => vi.restoreAllMocks());

async function deliver(queue: string, body: unknown, attempts = 1) {
  const id = crypto.randomUUID();
  const batch = createMessageBatch(queue, [{ id, timestamp: new Date(), attempts, body }]);
  const ctx = createExecutionContext();
  await handleQueue(batch, env, ctx);
  const { explicitAcks, retryMessages } = await getQueueResult(batch, ctx);
  return { id, acked: explicitAcks.includes(id), again: retryMessages.some((each) => each.msgId === id) };
}

async function noticed() {
  const upload = newUpload({ sizeBytes: 1_000 });
  await silenceQueues(upload.fileId);
  const door = assetDoor(doorEnv.ASSET, upload.fileId);
  await door.apply({ key: null, by: "test", event: { type: "UploadNoticed", upload } });
  const key = originalKey(upload);
  const { fileId, sizeBytes } = upload;
  const command = await proven({
    type: "ArchiveOriginal",
    id: `${fileId}:1:0`,
    fileId,
    op: 1,
    sourceKey: key,
    key,
    sizeBytes,
    sha256: null,
  });
  return { door, key, command };
}

test("an original that is there is archived in its object; delivered again, nothing changes", async () => {
  const { door, key, command } = await noticed();
  const store = wasabiStore({ ...config.wasabi, endpoint: env.WASABI_ENDPOINT });
  const body = new Response(new Uint8Array(1_000)).body as ReadableStream<Uint8Array>;
  await store.put(key, body, { sizeBytes: 1_000, contentType: "video/quicktime" });
  expect((await deliver("archive", command)).acked).toBe(true);
  const asset = await door.view();
  expect(asset).toMatchObject({ state: "archived", original: { key, sizeBytes: 1_000 } });
  expect((await deliver("archive", command)).acked).toBe(true);
  expect((await door.view())?.revision).toBe(asset?.revision);
});

test("an original that is missing is acked, and the object waits for it", async () => {
  const { door, command } = await noticed();
  expect((await deliver("archive", command)).acked).toBe(true);
  expect(await door.view()).toMatchObject({
    state: "received",
    problem: { step: "archive", code: "ORIGINAL_MISSING" },
  });
  // Told a second time under the same command, it is a second deferral, not a duplicate.
  const before = (await door.view())?.revision ?? 0;
  expect((await deliver("archive", command)).acked).toBe(true);
  expect((await door.view())?.revision).toBeGreaterThan(before);
});

test.each([
  ["text", "hello"],
  ["another shape", { type: "ArchiveOriginal", id: "x" }],
  ["an unknown command", { type: "EraseEverything", id: "x", fileId: "file-0001" }],
  ["nothing", null],
])("garbage (%s) is delivered again, later and later, until its dead-letter queue has it", async (_name, body) => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  expect(await deliver("archive", body)).toMatchObject({ acked: false, again: true });
  expect([1, 2, 3, 9].map(retryDelaySeconds)).toEqual([15, 60, 240, 900]);
});

test("a dead letter is kept as it came, with one alert for its cause", async () => {
  const body = { not: "a command" };
  const first = await deliver("archive-dead", body);
  const second = await deliver("archive-dead", body);
  expect([first.acked, second.acked]).toEqual([true, true]);
  const letters = await listDeadLetters(env.CATALOGUE, { after: null, limit: 100 });
  const mine = letters.filter((letter) => [first.id, second.id].includes(letter.id));
  expect(mine).toHaveLength(2);
  expect(mine[0]).toMatchObject({ queue: "archive", code: "BAD_MESSAGE", body: JSON.stringify(body), fileId: null });
  const alerts = await listAlerts(env.CATALOGUE, 100);
  expect(alerts.filter(({ cause }) => cause === "dead-letter:archive:unreadable")).toHaveLength(1);
});

test("a letter whose alert could not be raised raises it when it is delivered again", async () => {
  const { command } = await noticed();
  const message = { id: crypto.randomUUID(), body: { ...command, type: "AbortUpload" }, timestamp: new Date() };
  const real = env.CATALOGUE;
  const noAlerts = {
    prepare(sql: string) {
      if (sql.includes("INTO alerts")) throw new Error("D1 is away");
      return real.prepare(sql);
    },
  } as unknown as D1Database;
  await expect(keepDeadLetter(noAlerts, message, "lucidlink-dead", Date.now())).rejects.toThrow("away");
  await keepDeadLetter(real, message, "lucidlink-dead", Date.now());
  const causes = (await listAlerts(real, 100)).map(({ cause }) => cause);
  expect(causes).toContain("dead-letter:lucidlink:unreadable");
});

const answerWith = (status: number, json: unknown = {}) => {
  const calls: Request[] = [];
  vi.spyOn(globalThis, "fetch").mockImplementation(async (request) => {
    calls.push(request as Request);
    return Response.json(json as object, { status });
  });
  return calls;
};

test("the application is called with a signature that verifies, and again under the same id until it accepts", async () => {
  const { door, command } = await noticed();
  const asset = await door.view();
  const notify = { type: "NotifyApp", id: `${command.fileId}:1:7`, fileId: command.fileId, event: "asset.archived" };
  const message = await proven({ ...notify, timestamp: new Date().toISOString(), asset });

  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const refused = answerWith(500);
  expect((await deliver("app-webhook", message)).acked).toBe(false);
  vi.restoreAllMocks();
  const accepted = answerWith(200);
  expect((await deliver("app-webhook", message, 2)).acked).toBe(true);
  for (const [request] of [refused, accepted]) {
    if (request === undefined) throw new Error("the application was not called");
    const secret = config.appWebhook?.secret ?? new Uint8Array();
    const body = new Uint8Array(await request.arrayBuffer());
    const key = { kid: "app", secret };
    expect(await verifyWebhook(request.headers, body, [key], Date.now())).toEqual({ id: notify.id, key });
    expect(JSON.parse(new TextDecoder().decode(body))).toMatchObject({ type: "asset.archived", data: { asset } });
  }
  const row = await env.CATALOGUE.prepare("SELECT attempts, last_status FROM app_deliveries WHERE id = ?")
    .bind(notify.id)
    .first();
  expect(row).toEqual({ attempts: 2, last_status: 200 });
});

test("what a lease read is written once, however often the message comes, and a D1 that is away brings it again", async () => {
  const { fileId } = (await noticed()).command;
  const read = { type: "CountSourceRead", id: `${fileId}:9:0`, fileId, generation: 3, day: "2026-11-28", bytes: 7 };
  for (const attempt of [1, 2]) {
    expect((await deliver("catalogue", await proven(read), attempt)).acked).toBe(true);
  }
  const rows = await env.CATALOGUE.prepare("SELECT * FROM source_reads WHERE file_id = ?").bind(fileId).all();
  expect(rows.results).toEqual([{ day: "2026-11-28", file_id: fileId, generation: 3, bytes: 7 }]);
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const away = vi.spyOn(env.CATALOGUE, "prepare").mockImplementation(() => {
    throw new Error("D1 is away");
  });
  expect((await deliver("catalogue", await proven({ ...read, day: "2026-11-29" }))).acked).toBe(false);
  away.mockRestore();
});

test("a command that its asset does not want does nothing at all", async () => {
  const { command } = await noticed();
  const { mac: _, ...old } = command;
  const calls = answerWith(200);
  expect((await deliver("archive", await proven({ ...old, op: 99 }))).acked).toBe(true);
  expect(calls).toEqual([]);
});
