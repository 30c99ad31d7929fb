/** Uploads that nobody knows are aborted in the end; one that anybody may still want never is. */
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { originalKey, proxyKey } from "../../schemas/key.ts";
import type { LogEvent } from "../../schemas/log-event.ts";
import { config, env, newUpload, quality, seedLeased, seedProxy } from "../../test/door-worker.ts";
import { probe } from "../../test/simulation/asset-sample.ts";
import { openWasabiStub, xml } from "../../test/wasabi-stub-worker.ts";
import { publishAssets } from "../stores/catalogue.ts";
import { listAlerts } from "../stores/incident.ts";
import { noteUpload } from "../stores/open-upload.ts";
import { wasabiStore } from "../stores/wasabi.ts";
import { type StrayLimits, strayLimits, sweepStrayUploads } from "./stray-upload.ts";

const hourMs = 60 * 60_000;
const startMs = Date.UTC(2026, 5, 1);
const iso = (atMs: number) => new Date(atMs).toISOString();
const wasabi = wasabiStore(config.wasabi);
const sweep = (hour: number, limits: Partial<StrayLimits> = {}) =>
  sweepStrayUploads(env, wasabi, startMs + hour * hourMs, { ...strayLimits, ...limits });
const causes = async () => (await listAlerts(env.CATALOGUE, 100)).map(({ cause }) => cause);

beforeEach(async () => {
  const tables = ["sweeps", "stray_uploads", "open_uploads", "alerts", "copies", "assets"];
  await env.CATALOGUE.batch(tables.map((table) => env.CATALOGUE.prepare(`DELETE FROM ${table}`)));
});

const old = (key: string, uploadId: string, hoursOld = 48) => ({
  key,
  uploadId,
  initiatedAt: iso(startMs - hoursOld * hourMs),
});
const proxyOf = (fileId: string) => proxyKey({ clientName: "acme", projectName: "spring", fileId }, quality);

function listen(): LogEvent["event"][] {
  const events: LogEvent["event"][] = [];
  const spy = vi.spyOn(console, "warn").mockImplementation((line: string) => events.push(JSON.parse(line).event));
  onTestFinished(() => spy.mockRestore());
  return events;
}

test("a stray is aborted when two complete listings have shown it, with one alert until none is left", async () => {
  const stub = openWasabiStub();
  const events = listen();
  stub.uploads = [old(proxyOf("stray-0001"), "s1"), old(proxyOf("stray-0002"), "s2", 30)];
  await sweep(0);
  expect([stub.aborted, await causes()]).toEqual([[], []]);
  await sweep(1);
  expect(stub.aborted).toEqual(["s1", "s2"]);
  expect(events).toEqual(["stray-uploads.aborted", "stray-uploads.aborted", "stray-uploads.swept"]);
  expect(await listAlerts(env.CATALOGUE, 100)).toMatchObject([
    { cause: "stray-uploads", code: "STRAY_UPLOAD", times: 1, file_id: null, client_name: null },
  ]);
  await sweep(2);
  expect(stub.aborted).toHaveLength(2);
  expect(await causes()).toEqual([]);
});

test.each([true, false])("a stray with an odd name is aborted under its own key (encoding said: %s)", async (said) => {
  const stub = openWasabiStub();
  const events = listen();
  stub.saysEncoding = said;
  const { upload, door } = await seedProxy({ placed: false });
  const asset = await door.view();
  if (asset === null) throw new Error("there is no asset");
  await publishAssets(env.CATALOGUE, [asset]);
  const odd = (name: string) => originalKey({ ...upload, fileName: name });
  stub.uploads = ["Ä b+c%20 &d.mov", "100%.mov", "a%41.mov"].map((name) => old(odd(name), name));
  for (const hour of [0, 1]) await sweep(hour);
  expect(stub.uploads).toEqual([]);
  expect(events.filter((event) => event === "stray-uploads.aborted")).toHaveLength(3);
});

test("one that the next listing still shows was not aborted, whatever the answer", async () => {
  const stub = openWasabiStub();
  const events = listen();
  const stays = old(proxyOf("stray-0008"), "stays");
  stub.uploads = [stays];
  const deaf = { ...wasabi, abortMultipart: async () => undefined };
  for (const hour of [0, 1, 2]) await sweepStrayUploads(env, deaf, startMs + hour * hourMs);
  expect(events).toEqual(["stray-uploads.swept", "stray-uploads.swept"]);
  expect(await listAlerts(env.CATALOGUE, 100)).toMatchObject([
    { cause: "stray-uploads", message: expect.stringContaining("0 of them were aborted") },
  ]);
});

test("it lists once an hour, however often it is called", async () => {
  const stub = openWasabiStub();
  for (let minute = 0; minute <= 60; minute += 1) await sweep(minute / 60);
  expect(stub.requests.filter((each) => each === "GET /test-archive")).toHaveLength(2 * 2);
});

test("what is young, noted, held by its asset, an uploader's, or none of ours stays", async () => {
  const stub = openWasabiStub();
  const { upload, door, jobId, lease } = await seedLeased();
  await door.apply({
    key: null,
    by: "test",
    event: { type: "SourceProbed", lease, source: probe(360) },
  });
  const opened = await door.recordUpload(jobId, lease, quality, { uploadId: "held", partSizeBytes: 8 << 20 });
  expect(opened).toMatchObject({ ok: true, uploadId: "held" });
  await noteUpload(env.CATALOGUE, { uploadId: "noted", key: "k", fileId: "f", openedAt: iso(startMs) });
  const coming = newUpload();
  stub.uploads = [
    old(proxyOf("stray-0003"), "young", 20),
    old(proxyOf("stray-0003"), "noted"),
    old(proxyKey(upload, quality), "held"),
    old(originalKey(coming), "uploaders"),
    old("originals/by-hand.mov", "foreign"),
    old("proxies/some/other/tool.bin", "foreign-too"),
    old("elsewhere/acme/x.mov", "unlisted"),
  ];
  for (const hour of [0, 1, 2, 3]) await sweep(hour);
  expect([stub.aborted, await causes()]).toEqual([[], []]);
  expect(await door.holdsUpload("another")).toBe(false);
  // Nobody holds it any more: it was young at the first listing, so that it takes two of its own.
  for (const hour of [5, 6]) await sweep(hour);
  expect(stub.aborted).toEqual(["young"]);
});

test("an upload at the key of an original that is archived is nobody's", async () => {
  const stub = openWasabiStub();
  const { upload, door } = await seedProxy({ placed: false });
  const asset = await door.view();
  if (asset === null) throw new Error("there is no asset");
  await publishAssets(env.CATALOGUE, [asset]);
  stub.uploads = [old(originalKey(upload), "leftover")];
  for (const hour of [0, 1]) await sweep(hour);
  expect(stub.aborted).toEqual(["leftover"]);
});

test("a sweep aborts no more than its cap, the oldest first", async () => {
  const stub = openWasabiStub();
  stub.uploads = [30, 90, 60, 120, 45].map((age) => old(proxyOf("stray-0004"), `age-${age}`, age));
  await sweep(0, { abortsAtOnce: 2 });
  await sweep(1, { abortsAtOnce: 2 });
  expect(stub.aborted).toEqual(["age-120", "age-90"]);
  expect(await causes()).toEqual(["stray-uploads"]);
  await sweep(2, { abortsAtOnce: 2 });
  expect(stub.aborted).toEqual(["age-120", "age-90", "age-60", "age-45"]);
});

test("one that was gone in between is new again", async () => {
  const stub = openWasabiStub();
  const upload = old(proxyOf("stray-0005"), "flickers");
  stub.uploads = [upload];
  await sweep(0);
  stub.uploads = [];
  await sweep(1);
  stub.uploads = [upload];
  await sweep(2);
  expect(stub.aborted).toEqual([]);
  await sweep(3);
  expect(stub.aborted).toEqual(["flickers"]);
});

test.each([
  ["an outage", () => xml("SlowDown", 503)],
  ["half an answer", () => new Response("<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>")],
])("%s on any page leaves everything as it is, and counts as no listing", async (_name, answer) => {
  const stub = openWasabiStub();
  const events = listen();
  stub.uploads = ["a", "b", "c"].map((id) => old(proxyOf("stray-0006"), id));
  await sweep(0);
  stub.listing = (page) => (page === 2 ? answer() : null);
  await sweep(1);
  await sweep(2);
  expect(stub.aborted).toEqual([]);
  expect(events).toEqual(["stray-uploads.unlistable"]);
  expect(await causes()).toEqual([]);
  stub.listing = null;
  await sweep(3);
  expect(stub.aborted).toEqual(["a", "b", "c"]);
});

test("a refused listing is an alert until it is granted", async () => {
  const stub = openWasabiStub();
  listen();
  stub.listing = () => xml("AccessDenied", 403);
  await sweep(0);
  await sweep(1);
  expect(await listAlerts(env.CATALOGUE, 100)).toMatchObject([
    { cause: "stray-uploads:unlistable", code: "WASABI_FORBIDDEN", times: 2 },
  ]);
  stub.listing = null;
  await sweep(2);
  expect(await causes()).toEqual([]);
});

test("a store that has no such listing is told of once, and raises nothing", async () => {
  const stub = openWasabiStub();
  const events = listen();
  stub.listing = () => xml("NotImplemented", 501);
  for (const hour of [0, 1, 2]) await sweep(hour);
  expect([events, await causes()]).toEqual([["stray-uploads.unlistable"], []]);
});

test("an upload whose asset does not answer counts as held; one that resists is tried again", async () => {
  const stub = openWasabiStub();
  const events = listen();
  stub.uploads = [old(proxyOf("stray-0007"), "resists")];
  const away = {
    ...env,
    ASSET: { getByName: () => ({ holdsUpload: () => Promise.reject(new Error("it moves")) }) },
  } as unknown as typeof env;
  await sweep(0);
  await sweepStrayUploads(away, wasabi, startMs + hourMs);
  expect([stub.aborted, events]).toEqual([[], ["upload.unanswered"]]);
  const refusing = { ...wasabi, abortMultipart: () => Promise.reject(new Error("no")) };
  await sweepStrayUploads(env, refusing, startMs + 2 * hourMs);
  expect(events.slice(1)).toEqual(["upload.abort-failed", "stray-uploads.swept"]);
  await sweep(3);
  expect(stub.aborted).toEqual(["resists"]);
});
