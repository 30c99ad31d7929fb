/** What a newer version left behind, met by this one: a timer and a command that it does not know rest, and spin nothing. */
import { env, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { expect, test, vi } from "vitest";
import { newUpload, silenceQueues } from "../test/door-worker.ts";
import type { Env } from "../workers/stores/config.ts";
import { assetDoor } from "./asset-door.ts";
import type { AssetObject } from "./asset-object.ts";

const minuteMs = 60_000;

async function noticed() {
  const upload = newUpload();
  const { fileId } = upload;
  const stub = env.ASSET.getByName(fileId) as unknown as DurableObjectStub<AssetObject>;
  const door = assetDoor((env as unknown as Env).ASSET, fileId);
  await silenceQueues(fileId);
  await door.apply({ key: null, by: "test", event: { type: "UploadNoticed", upload } });
  const sql = (text: string, ...values: (string | number)[]) =>
    runInDurableObject(stub, (_instance, state) => [...state.storage.sql.exec(text, ...values)]);
  await expect.poll(() => sql("SELECT id FROM outbox")).toEqual([]);
  const alarmInMs = () =>
    runInDurableObject(stub, async (_i, state) => ((await state.storage.getAlarm()) ?? 0) - Date.now());
  const plant = (name: string, event: string) =>
    sql("INSERT INTO timer (name, at_ms, event) VALUES (?, ?, ?)", name, Date.now() - 1, event);
  const reload = async () => {
    await evictDurableObject(stub);
    await silenceQueues(fileId);
  };
  const makeDue = (name: string) => sql("UPDATE timer SET at_ms = ? WHERE name GLOB ?", Date.now() - 1, `*${name}`);
  /** The step's deadline, in the state as well as in its timer. */
  const makeWatchdogDue = async () => {
    const document = "json_set(document, '$.job.archive.deadlineAtMs', ?)";
    await sql(`UPDATE asset SET document = ${document}`, Date.now() - 1);
    await makeDue(watchdog);
    await reload();
  };
  const ring = () => runDurableObjectAlarm(stub);
  const revision = async () => (await door.view())?.revision ?? 0;
  return { stub, door, sql, alarmInMs, plant, makeDue, makeWatchdogDue, reload, ring, revision };
}

const unknown = JSON.stringify({ type: "ScrubDue", part: 7 });
const watchdog = "archive";

test.each([
  ["an event that this version does not know", unknown],
  ["text that is no JSON", "{"],
])("a timer with %s rests longer and longer, and the others fire", async (_what, event) => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  const { sql, plant, makeDue, makeWatchdogDue, ring, alarmInMs, revision } = await noticed();
  const before = await revision();
  await plant("scrub", event);
  await makeWatchdogDue();
  // An object that has just been loaded may ring by itself first.
  await ring();
  await expect.poll(revision).toBe(before + 1);
  expect(await sql("SELECT name FROM timer WHERE event = ?", event)).toEqual([{ name: "resting:1:scrub" }]);
  const rests: number[] = [];
  for (let round = 0; round < 8; round++) {
    await sql("UPDATE timer SET at_ms = ? WHERE name NOT GLOB '*scrub'", Date.now() + 24 * 60 * minuteMs);
    await makeDue("scrub");
    await ring();
    rests.push(await alarmInMs());
  }
  expect(Math.min(...rests)).toBeGreaterThan(minuteMs);
  expect(rests[1]).toBeGreaterThan(rests[0] ?? 0);
  expect(Math.max(...rests)).toBeGreaterThan(20 * minuteMs);
  expect(Math.max(...rests)).toBeLessThan(40 * minuteMs);
  expect(await sql("SELECT name FROM timer WHERE event = ?", event)).toEqual([{ name: "resting:9:scrub" }]);
});

test("a timer that rests goes on once its version is back, and only once", async () => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  const { sql, plant, makeDue, makeWatchdogDue, ring, revision } = await noticed();
  const [known] = await sql("SELECT event FROM timer WHERE name = ?", watchdog);
  await plant("scrub", unknown);
  await ring();
  // As if this version knew it: the event is one that the state awaits now.
  await makeWatchdogDue();
  await sql("UPDATE timer SET at_ms = ? WHERE name = ?", Date.now() + 60 * minuteMs, watchdog);
  await sql("UPDATE timer SET event = ? WHERE name = 'resting:1:scrub'", String(known?.event));
  await makeDue("scrub");
  const before = await revision();
  await ring();
  expect(await revision()).toBe(before + 1);
  expect(await sql("SELECT name FROM timer WHERE name GLOB '*scrub'")).toEqual([]);
});

test("an asset that a newer version stored rests, and is as it was when that is back", async () => {
  for (const level of ["warn", "error"] as const) vi.spyOn(console, level).mockImplementation(() => undefined);
  const { sql, makeWatchdogDue, ring, alarmInMs, revision } = await noticed();
  const before = await revision();
  await sql("UPDATE asset SET document = json_set(document, '$.version', 2)");
  await makeWatchdogDue();
  await ring();
  expect(await alarmInMs()).toBeGreaterThan(minuteMs);
  await sql("UPDATE asset SET document = json_set(document, '$.version', 1)");
  await makeWatchdogDue();
  await ring();
  expect(await revision()).toBe(before + 1);
});

test("a command that this version does not know waits in the outbox, later and later, and the others are sent", async () => {
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  const { sql, ring, alarmInMs, makeWatchdogDue } = await noticed();
  const row = "INSERT INTO outbox (id, seq, type, body, next_at_ms) VALUES ('planted', 1, 'ScrubParts', '{}', ?)";
  await sql(row, Date.now());
  await makeWatchdogDue();
  await ring();
  await expect.poll(() => sql("SELECT id, attempts FROM outbox")).toEqual([{ id: "planted", attempts: 1 }]);
  await sql("UPDATE timer SET at_ms = ?", Date.now() + 24 * 60 * minuteMs);
  await sql("UPDATE outbox SET next_at_ms = ?", Date.now());
  await ring();
  await expect.poll(() => sql("SELECT attempts FROM outbox")).toEqual([{ attempts: 2 }]);
  await expect.poll(alarmInMs).toBeGreaterThan(3 * minuteMs);
});
