/** The shell around the machine, in a real Durable Object: what it stores, sends, repeats and refuses. */
import { env, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import type { AssetEvent, EventEnvelope, UploadDeclaration } from "../schemas/event.ts";
import { originalKey } from "../schemas/key.ts";
import type { Env } from "../workers/stores/config.ts";
import { type AssetDoor, assetDoor } from "./asset-door.ts";
import type { AssetObject } from "./asset-object.ts";

const queueNames = [
  "URGENT_QUEUE",
  "ARCHIVE_QUEUE",
  "INGEST_QUEUE",
  "TRANSCODE_QUEUE",
  "TRANSCODE_RUSH_QUEUE",
  "R2_QUEUE",
  "LUCIDLINK_QUEUE",
  "CATALOGUE_QUEUE",
  "APP_WEBHOOK_QUEUE",
] as const;

interface Sent {
  type: string;
  id: string;
  queue: string;
}

let count = 0;

function declaration(over: Partial<UploadDeclaration> = {}): UploadDeclaration {
  count += 1;
  const fileId = `asset-object-${count}`;
  const file = { fileId, clientName: "acme-corp", projectName: "spring", fileName: "take 1.mov", ...over };
  return { ...file, sizeBytes: 1000, source: { kind: "wasabi", key: originalKey(file) }, ...over };
}

function open(fileId: string) {
  const stub = env.ASSET.getByName(fileId) as unknown as DurableObjectStub<AssetObject>;
  return { stub, door: assetDoor((env as unknown as Env).ASSET, fileId) };
}

/** Puts recording queues in the place of the platform's for this instance, so that no consumer answers meanwhile. */
function takeQueues(stub: DurableObjectStub<AssetObject>, sent: Sent[], fails: () => boolean = () => false) {
  return runInDurableObject(stub, (instance) => {
    const bindings = (instance as unknown as { env: Record<string, unknown> }).env;
    for (const name of queueNames) {
      const send = async (body: Sent) => {
        if (fails()) throw new Error("the queue is away");
        sent.push({ type: body.type, id: body.id, queue: name });
      };
      Object.defineProperty(bindings, name, { value: { send }, configurable: true });
    }
  });
}

const noticed = (upload: UploadDeclaration, key: string | null = `webhook:${upload.fileId}`): EventEnvelope => ({
  key,
  by: "test",
  event: { type: "UploadNoticed", upload },
});

const rows = (stub: DurableObjectStub<AssetObject>, sql: string) =>
  runInDurableObject(stub, (_instance, state) => [...state.storage.sql.exec(sql)]);

async function settled(stub: DurableObjectStub<AssetObject>): Promise<void> {
  await expect.poll(() => rows(stub, "SELECT id FROM outbox")).toEqual([]);
}

function fact(event: AssetEvent, key: string | null = null): EventEnvelope {
  return { key, by: "test", event };
}

async function archived(door: AssetDoor, upload: UploadDeclaration): Promise<void> {
  const { sizeBytes } = upload;
  await door.apply(
    fact({ type: "OriginalArchived", op: 1, key: originalKey(upload), sizeBytes, etag: "e".repeat(32), sha256: null }),
  );
}

test("an upload creates the asset once, sends its commands and empties the outbox", async () => {
  const upload = declaration();
  const { stub, door } = open(upload.fileId);
  const sent: Sent[] = [];
  await takeQueues(stub, sent);
  const first = await door.apply(noticed(upload));
  expect(first).toMatchObject({ outcome: "applied", created: true, asset: { state: "received", revision: 1 } });
  await settled(stub);
  expect(sent.map(({ type }) => type).sort()).toEqual(["ArchiveOriginal", "PublishCatalogue"]);
  expect(sent.every(({ id }) => id.startsWith(`${upload.fileId}:1:`))).toBe(true);

  const again = await door.apply(noticed(upload));
  expect(again).toMatchObject({ outcome: "duplicate", created: false, asset: { revision: 1 } });
  const otherId = await door.apply(noticed(upload, "webhook:other"));
  expect(otherId).toMatchObject({ outcome: "ignored", asset: { revision: 1 } });
  expect(sent).toHaveLength(2);
});

test("the priority of an upload chooses the queue that runners pull its job from", async () => {
  for (const [priority, queue] of [
    [undefined, "TRANSCODE_QUEUE"],
    [69, "TRANSCODE_QUEUE"],
    [70, "TRANSCODE_RUSH_QUEUE"],
  ] as const) {
    const upload = declaration(priority === undefined ? {} : { priority });
    const { stub, door } = open(upload.fileId);
    const sent: Sent[] = [];
    await takeQueues(stub, sent);
    await door.apply(noticed(upload));
    await archived(door, upload);
    await settled(stub);
    expect(sent.filter(({ type }) => type === "EnqueueTranscode").map((one) => one.queue)).toEqual([queue]);
  }
});

test("a waiting job that becomes a rush job is announced on the rush queue, one that is claimed on none", async () => {
  const upload = declaration();
  const { stub, door } = open(upload.fileId);
  const sent: Sent[] = [];
  await takeQueues(stub, sent);
  await door.apply(noticed(upload));
  await archived(door, upload);
  const change = (priority: number) => door.apply(fact({ type: "PriorityChanged", priority }));
  expect((await change(60)).outcome).toBe("applied");
  expect((await change(90)).outcome).toBe("applied");
  expect((await change(90)).outcome).toBe("ignored");
  expect((await change(95)).outcome).toBe("applied");
  await settled(stub);
  const announced = sent.filter(({ type }) => type === "EnqueueTranscode").map(({ queue }) => queue);
  expect(announced).toEqual(["TRANSCODE_QUEUE", "TRANSCODE_RUSH_QUEUE"]);

  await door.apply(fact({ type: "TranscodeClaimed", generation: 1, runnerId: "r", encoder: "x264" }));
  await change(10);
  await settled(stub);
  expect(sent.filter(({ type }) => type === "EnqueueTranscode")).toHaveLength(2);
});

test("a different file under a known id is a conflict that names the fields and changes nothing", async () => {
  const upload = declaration();
  const { stub, door } = open(upload.fileId);
  await takeQueues(stub, []);
  await door.apply(noticed(upload));
  const result = await door.apply(noticed({ ...upload, sizeBytes: 999, projectName: "autumn" }, "webhook:second"));
  expect(result.outcome).toBe("conflict");
  expect(result.errors.map(({ path }) => path).sort()).toEqual(["data.projectName", "data.sizeBytes"]);
  expect(result.asset).toMatchObject({ sizeBytes: 1000, projectName: "spring", revision: 1 });
});

test("an event that is no event is refused at the door and stores nothing", async () => {
  const { stub, door } = open("asset-object-nobody");
  const refused = await door.apply({ key: "x", by: "test", event: { type: "Nonsense" } } as never);
  expect(refused).toMatchObject({ outcome: "rejected", asset: null, errors: [{ path: "event.type" }] });
  expect(await rows(stub, "SELECT name FROM sqlite_master")).toEqual([]);
  const unknown = await door.apply(fact({ type: "RetryRequested" }, "retry"));
  expect(unknown).toMatchObject({ outcome: "unknown", asset: null });
});

test("a queue that is away loses nothing: the row stays and the alarm sends it", async () => {
  const upload = declaration();
  const { stub, door } = open(upload.fileId);
  const sent: Sent[] = [];
  let away = true;
  await takeQueues(stub, sent, () => away);
  await door.apply(noticed(upload));
  await expect.poll(() => rows(stub, "SELECT id FROM outbox WHERE attempts > 0")).toHaveLength(2);
  expect(sent).toEqual([]);
  away = false;
  await expect
    .poll(
      async () => {
        await runDurableObjectAlarm(stub);
        return sent.map(({ type }) => type).sort();
      },
      { timeout: 10_000 },
    )
    .toEqual(["ArchiveOriginal", "PublishCatalogue"]);
  await settled(stub);
});

test("state, timers and unsent commands survive the object's eviction from memory", async () => {
  const upload = declaration();
  const { stub, door } = open(upload.fileId);
  await takeQueues(stub, [], () => true);
  await door.apply(noticed(upload));
  const before = await door.view();
  await evictDurableObject(stub);
  const sent: Sent[] = [];
  await takeQueues(stub, sent);
  expect(await door.view()).toEqual(before);
  expect(await rows(stub, "SELECT name FROM timer")).toEqual([{ name: "archive" }]);
  await expect
    .poll(async () => {
      await runDurableObjectAlarm(stub);
      return sent.length;
    })
    .toBe(2);
});

test("an alarm is armed whenever a timer or an outbox row waits", async () => {
  const upload = declaration();
  const { stub, door } = open(upload.fileId);
  await takeQueues(stub, []);
  await door.apply(noticed(upload));
  await settled(stub);
  const armed = await runInDurableObject(stub, (_instance, state) => state.storage.getAlarm());
  const [timer] = await rows(stub, "SELECT min(at_ms) AS at_ms FROM timer");
  expect(armed).toBe(timer?.at_ms);
});

test("begin tells a current command from one that is no longer wanted", async () => {
  const upload = declaration();
  const { stub, door } = open(upload.fileId);
  await takeQueues(stub, []);
  await door.apply(noticed(upload));
  expect(await door.begin({ kind: "archive" }, 1)).toEqual({ go: true });
  expect(await door.begin({ kind: "archive" }, 2)).toMatchObject({ go: false });
  await archived(door, upload);
  expect(await door.begin({ kind: "archive" }, 1)).toMatchObject({ go: false });
});

test("an op token is granted to the present intent only, and freed by its holder's report", async () => {
  const upload = declaration();
  const { stub, door } = open(upload.fileId);
  await takeQueues(stub, []);
  await door.apply(noticed(upload));
  const step = { kind: "archive" } as const;
  expect(await door.claim(step, 2, "complete", "delivery-a")).toEqual({ granted: false, reason: "stale" });
  expect(await door.claim(step, 1, "remove", "delivery-a")).toEqual({ granted: false, reason: "stale" });
  expect(await door.claim(step, 1, "complete", "delivery-a")).toMatchObject({ granted: true });
  expect(await door.claim(step, 1, "complete", "delivery-a")).toMatchObject({ granted: true });
  expect(await rows(stub, "SELECT key, op FROM op_token")).toEqual([{ key: "archive", op: 1 }]);
  const deferred = { type: "StepDeferred", step, op: 1, code: "WASABI_UNAVAILABLE", message: "busy" } as const;
  const report = fact({ ...deferred, retryAfterMs: 1000 });
  await door.apply({ ...report, holder: "delivery-b" });
  expect(await rows(stub, "SELECT holder FROM op_token")).toEqual([{ holder: "delivery-a" }]);
  await door.apply({ ...report, holder: "delivery-a" });
  expect(await rows(stub, "SELECT holder FROM op_token")).toEqual([]);
});

test("a new intent waits in the outbox while an older operation may still act, and goes when it reports", async () => {
  const upload = declaration();
  const { stub, door } = open(upload.fileId);
  const sent: Sent[] = [];
  await takeQueues(stub, sent);
  await door.apply(noticed(upload));
  await settled(stub);
  await door.claim({ kind: "archive" }, 1, "complete", "delivery-a");
  await door.apply(fact({ type: "RetryRequested" }, "retry"));
  await expect.poll(() => rows(stub, "SELECT type, op FROM outbox")).toEqual([{ type: "ArchiveOriginal", op: 2 }]);
  expect(sent.filter(({ type }) => type === "ArchiveOriginal")).toHaveLength(1);
  const late = {
    type: "StepFailed",
    step: { kind: "archive" },
    op: 1,
    code: "SIZE_MISMATCH",
    message: "late",
  } as const;
  await door.apply({ ...fact(late, "late"), holder: "delivery-a" });
  await settled(stub);
  expect(sent.filter(({ type }) => type === "ArchiveOriginal")).toHaveLength(2);
  expect(await door.view()).toMatchObject({ state: "received" });
});

test("history tells every revision once, newest first, without a presigned query", async () => {
  const upload = declaration({ source: { kind: "url", url: "https://uploads.test/a.mov?X-Amz-Signature=secret" } });
  const { stub, door } = open(upload.fileId);
  await takeQueues(stub, []);
  await door.apply(noticed(upload));
  await archived(door, upload);
  const history = await door.history(null, 50);
  expect(history.map(({ revision, event, state }) => [revision, event, state])).toEqual([
    [2, "OriginalArchived", "archived"],
    [1, "UploadNoticed", "received"],
  ]);
  expect(JSON.stringify(history)).not.toContain("secret");
  expect(await door.history(2, 50)).toHaveLength(1);
});

test("a retry's rounds do not fill the history for ever, and nothing else is dropped from it", async () => {
  const upload = declaration();
  const { stub, door } = open(upload.fileId);
  await takeQueues(stub, []);
  await door.apply(noticed(upload));
  const deferral = { type: "StepDeferred", op: 1, code: "WASABI_UNAVAILABLE", message: "away" } as const;
  for (let round = 0; round < 230; round++) {
    await door.apply(fact({ ...deferral, step: { kind: "archive" }, retryAfterMs: null }));
  }
  const events = (await door.history(null, 1000)).map(({ event }) => event);
  expect(events.filter((event) => event === "StepDeferred")).toHaveLength(200);
  expect(events.at(-1)).toBe("UploadNoticed");
});

test("a watcher gets a snapshot at once and every change after", async () => {
  const upload = declaration();
  const { stub, door } = open(upload.fileId);
  await takeQueues(stub, []);
  await door.apply(noticed(upload));
  const response = await stub.fetch("https://object/status", { headers: { Upgrade: "websocket" } });
  const socket = response.webSocket;
  if (!socket) throw new Error("no socket");
  const frames: { type: string; asset: { state: string } }[] = [];
  socket.addEventListener("message", ({ data }) => {
    frames.push(JSON.parse(String(data)));
  });
  socket.accept();
  await archived(door, upload);
  await expect
    .poll(() => frames.map(({ type, asset }) => [type, asset.state]))
    .toEqual([
      ["snapshot", "received"],
      ["asset", "archived"],
    ]);
  socket.close();
});

async function runnerSocket(stub: DurableObjectStub<AssetObject>, jobId: string): Promise<void> {
  const response = await stub.fetch(`https://object/runner/${jobId}`, { headers: { Upgrade: "websocket" } });
  response.webSocket?.accept();
}

/** Hands a frame to the object by a runner's socket that has been closed meanwhile. */
const frameOfLostSocket = (stub: DurableObjectStub<AssetObject>, frame: object) =>
  runInDurableObject(stub, async (instance, state) => {
    const [socket] = state.getWebSockets("runner");
    if (!socket) throw new Error("no runner is connected");
    socket.close(1000, "gone");
    await instance.webSocketMessage(socket, JSON.stringify(frame));
  });

const armedAndDue = async (stub: DurableObjectStub<AssetObject>) => {
  const [timer] = await rows(stub, "SELECT min(at_ms) AS at_ms FROM timer");
  return { armed: await runInDurableObject(stub, (_, state) => state.storage.getAlarm()), due: timer?.at_ms };
};

test("a runner that is gone before its answer leaves its lease watched, and its failure recorded", async () => {
  const upload = declaration();
  const { stub, door } = open(upload.fileId);
  const sent: Sent[] = [];
  await takeQueues(stub, sent);
  await door.apply(noticed(upload));
  await archived(door, upload);
  await settled(stub);
  const jobId = (await door.view())?.jobId ?? "";
  await runnerSocket(stub, jobId);
  const capabilities = { ffmpegVersion: "7", encoderReason: "" };
  await frameOfLostSocket(stub, {
    type: "claim",
    seq: 1,
    generation: 1,
    runnerId: "runner-1",
    encoder: "libx264",
    capabilities,
  });
  expect(await door.view()).toMatchObject({ state: "transcoding" });
  expect(await rows(stub, "SELECT name FROM timer")).toEqual([{ name: "lease" }]);
  const watched = await armedAndDue(stub);
  expect(watched.armed).toBe(watched.due);

  const lease = await runInDurableObject(
    stub,
    (_, state) =>
      [...state.storage.sql.exec<{ token: string }>("SELECT document ->> '$.job.lease.token' AS token FROM asset")][0],
  );
  await runnerSocket(stub, jobId);
  const failure = { code: "ENCODER_FAILED", message: "no", retryable: true };
  await frameOfLostSocket(stub, { type: "failed", seq: 2, lease: lease?.token, ...failure });
  expect(await door.view()).toMatchObject({ state: "archived", generation: 2 });
  await settled(stub);
  const ended = await armedAndDue(stub);
  expect(ended.armed).toBe(ended.due);
});

test("a timer that cannot be decided is put off, and holds up neither the outbox nor the alarm", async () => {
  const upload = declaration();
  const { stub, door } = open(upload.fileId);
  const sent: Sent[] = [];
  let away = true;
  await takeQueues(stub, sent, () => away);
  await door.apply(noticed(upload));
  await expect.poll(() => rows(stub, "SELECT id FROM outbox WHERE attempts > 0")).toHaveLength(2);
  away = false;
  const putOffUntil = await runInDurableObject(stub, async (instance, state) => {
    state.storage.sql.exec("UPDATE timer SET at_ms = 0");
    state.storage.sql.exec("UPDATE outbox SET next_at_ms = 0");
    const storage = (instance as unknown as { ctx: DurableObjectState }).ctx.storage;
    const refuse = () => {
      throw new Error("no decision");
    };
    Object.defineProperty(storage, "transactionSync", { value: refuse, configurable: true });
    await instance.alarm();
    Reflect.deleteProperty(storage, "transactionSync");
    return state.storage.sql.exec<{ at_ms: number }>("SELECT at_ms FROM timer").one().at_ms;
  });
  expect(putOffUntil).toBeGreaterThan(Date.now());
  expect(sent.map(({ type }) => type).sort()).toEqual(["ArchiveOriginal", "PublishCatalogue"]);
});
