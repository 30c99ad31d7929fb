/** Sockets end with their token: by its own end or because it was revoked, watched or silent, awake or hibernating. */
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { call, env, seedLeased, token } from "../test/door-worker.ts";

const minuteMs = 60_000;
let count = 0;

beforeEach(() => env.CATALOGUE.prepare("DELETE FROM revoked_tokens").run());
afterEach(() => vi.useRealTimers());

interface Opened {
  stub: DurableObjectStub;
  socket: WebSocket;
  /** Resolves with the close frame. */
  closed: Promise<{ code: number; reason: string }>;
  frames: string[];
}

async function open(path: string, stub: DurableObjectStub, as: string): Promise<Opened> {
  const response = await call(path, { headers: { upgrade: "websocket" }, token: as });
  const socket = response.webSocket;
  if (!socket) throw new Error(`no socket: ${response.status} ${await response.text()}`);
  const frames: string[] = [];
  socket.addEventListener("message", ({ data }) => frames.push(String(data)));
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.addEventListener("close", ({ code, reason }) => resolve({ code, reason }));
  });
  socket.accept();
  return { stub, socket, closed, frames };
}

type Over = { jti?: string; sub?: string; expiresInSeconds?: number };

const kinds = {
  async "an asset's watcher"(over: Over) {
    const { upload } = await seedLeased({ clientName: "socket-client" });
    const stub = env.ASSET.getByName(upload.fileId);
    return open(`/v1/assets/${upload.fileId}/status`, stub, await token("viewer", ["*"], over));
  },
  async "a watcher of many"(over: Over) {
    const client = `socket-feed-${++count}`;
    const stub = env.FEED.getByName(`feed:${client}`);
    return open(`/v1/status?client=${client}`, stub, await token("viewer", ["*"], over));
  },
  async "a runner"(over: Over) {
    const { upload, jobId } = await seedLeased();
    const stub = env.ASSET.getByName(upload.fileId);
    return open(`/v1/runner/jobs/${jobId}?asset=${upload.fileId}`, stub, await token("runner", ["*"], over));
  },
};
const names = Object.keys(kinds) as (keyof typeof kinds)[];

const armedAtMs = (stub: DurableObjectStub) => runInDurableObject(stub, (_instance, state) => state.storage.getAlarm());
const openSockets = (stub: DurableObjectStub) =>
  runInDurableObject(stub, (_i, state) => state.getWebSockets().filter(({ readyState }) => readyState === 1).length);

async function revoke(body: object): Promise<void> {
  const answer = await call("/v1/admin/tokens/revoke", {
    method: "POST",
    json: { reason: "test", ...body },
    token: await token("admin"),
  });
  if (!answer.ok) throw new Error(await answer.text());
}

/** As if this much time had passed, and the platform had rung. */
async function ringIn(stub: DurableObjectStub, ms: number): Promise<void> {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + ms });
  await runDurableObjectAlarm(stub);
}

test.each(names)("%s is closed when its token is over, and the alarm is there for it", async (name) => {
  const { stub, closed } = await kinds[name]({ expiresInSeconds: 20 });
  const endsAtMs = (Math.floor(Date.now() / 1000) + 20) * 1000;
  expect(await armedAtMs(stub)).toBeLessThanOrEqual(endsAtMs + 1_000);
  await evictDurableObject(stub);
  await ringIn(stub, 21_000);
  expect(await closed).toEqual({ code: 4401, reason: "The token has expired." });
  expect(await openSockets(stub)).toBe(0);
});

test.each(names)(
  "%s that says and hears nothing is closed within a minute of the revocation, also when it hibernated",
  async (name) => {
    const jti = `silent-${++count}`;
    const { stub, closed } = await kinds[name]({ jti, expiresInSeconds: 3_600 });
    await evictDurableObject(stub);
    await revoke({ jti });
    const armed = await armedAtMs(stub);
    expect((armed ?? Number.POSITIVE_INFINITY) - Date.now()).toBeLessThan(minuteMs - 5_000);
    await ringIn(stub, 50_001);
    expect(await closed).toEqual({ code: 4401, reason: "The token was revoked." });
  },
);

test.each(names)("%s whose token is good stays open, and is looked at again", async (name) => {
  const { stub } = await kinds[name]({ jti: `good-${++count}`, expiresInSeconds: 3_600 });
  await revoke({ jti: "another" });
  for (let round = 0; round < 3; round++) await ringIn(stub, 50_001);
  expect(await openSockets(stub)).toBe(1);
  expect(((await armedAtMs(stub)) ?? Number.POSITIVE_INFINITY) - Date.now()).toBeLessThan(minuteMs);
});

test("with its last socket an object's alarm goes: nobody is woken for nothing", async () => {
  const { stub, socket } = await kinds["a watcher of many"]({ expiresInSeconds: 3_600 });
  socket.close(1000);
  await expect.poll(() => openSockets(stub)).toBe(0);
  await ringIn(stub, 50_001);
  expect(await armedAtMs(stub)).toBeNull();
});

test("what a runner says with a token that was ended is not heard", async () => {
  const { upload, jobId, lease, door } = await seedLeased();
  const jti = `runner-${++count}`;
  const path = `/v1/runner/jobs/${jobId}?asset=${upload.fileId}`;
  const runner = await open(path, env.ASSET.getByName(upload.fileId), await token("runner", ["*"], { jti }));
  const say = (seq: number) => runner.socket.send(JSON.stringify({ type: "release", seq, lease, reason: "bye" }));
  await revoke({ jti });
  say(1);
  expect(await runner.closed).toMatchObject({ code: 4401 });
  expect(runner.frames).toEqual([]);
  expect(await door.view()).toMatchObject({ state: "transcoding" });
});

test("all of a subject's sockets end with its tokens; others stay", async () => {
  const sub = `leaver-${++count}`;
  const [gone, alsoGone, here] = [
    await kinds["a watcher of many"]({ sub }),
    await kinds["an asset's watcher"]({ sub }),
    await kinds["a watcher of many"]({ sub: "stays" }),
  ];
  await revoke({ sub });
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 50_001 });
  for (const { stub } of [gone, alsoGone, here]) await runDurableObjectAlarm(stub);
  expect([(await gone.closed).code, (await alsoGone.closed).code, await openSockets(here.stub)]).toEqual([
    4401, 4401, 1,
  ]);
});

test("a door that an older version answers tells no token: its socket works, unwatched", async () => {
  const { upload } = await seedLeased();
  const stub = env.ASSET.getByName(upload.fileId);
  const response = await stub.fetch("https://object/status", { headers: { upgrade: "websocket" } });
  expect(response.status).toBe(101);
  response.webSocket?.accept();
  await ringIn(stub, 50_001);
  expect(await openSockets(stub)).toBe(1);
});
