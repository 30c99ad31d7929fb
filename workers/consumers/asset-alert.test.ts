/** Alerts that assets hold open: what raises them, who is told, and what clears them. */
import { beforeEach, expect, test } from "vitest";
import type { Asset, Problem } from "../../schemas/asset.ts";
import type { FailureCode } from "../../schemas/failure.ts";
import { call, env, newUpload, postUpload, seedProxy, token } from "../../test/door-worker.ts";
import type { Env } from "../stores/config.ts";
import { listAlerts } from "../stores/incident.ts";
import { alertsOf, publishWithAlerts } from "./asset-alert.ts";

beforeEach(async () => {
  const tables = ["alerts", "alert_holders", "assets", "copies"];
  await env.CATALOGUE.batch(tables.map((table) => env.CATALOGUE.prepare(`DELETE FROM ${table}`)));
});

const at = "2026-01-01T00:00:00.000Z";

function problem(code: FailureCode, message = `told: ${code}`): Problem {
  return { step: "lucidlink:360p", code, message, since: at, retryable: true, nextAttemptAt: null };
}

/** Real documents, with the problem of their LucidLink copy as a test wants it. */
async function assetOf(clientName: string, over: Partial<Asset> = {}): Promise<Asset> {
  const { door } = await seedProxy({ placed: false, clientName });
  const asset = await door.view();
  if (asset === null) throw new Error("no asset");
  return { ...asset, ...over };
}

function withCopyProblem(asset: Asset, code: FailureCode | null, revision = asset.revision + 1): Asset {
  const renditions = asset.renditions.map((rendition) => ({
    ...rendition,
    copies: rendition.copies.map((copy) =>
      copy.tier === "lucidlink" ? { ...copy, problem: code && problem(code) } : copy,
    ),
  }));
  return { ...asset, revision, renditions, problem: code && problem(code) };
}

const open = async () => (await listAlerts(env.CATALOGUE, 100)).map(({ cause, times }) => [cause, times]);

interface Told {
  feed: string;
  client: string | null;
  project: string | null;
  frame: unknown;
}

/** Feeds that write down what they are given. */
function recordingFeeds(told: Told[], fails = false) {
  const getByName = (feed: string) => ({
    publish: async (client: string | null, project: string | null, frame: unknown) => {
      if (fails) throw new Error("the feed is away");
      told.push({ feed, client, project, frame });
    },
  });
  return { ...env, FEED: { getByName } } as unknown as Env;
}

test("a healthy document gives rise to none", async () => {
  expect(alertsOf(await assetOf("acme"))).toEqual([]);
});

test.each(["LUCIDLINK_FULL", "LUCIDLINK_NOT_MOUNTED", "LUCIDLINK_UNAVAILABLE", "WASABI_FORBIDDEN"] as const)(
  "%s is one alert for the whole client, however many copies have it",
  async (code) => {
    const asset = withCopyProblem(await assetOf("acme"), code);
    expect(alertsOf(asset)).toEqual([{ cause: `${code}:acme`, code, message: `told: ${code}`, fileId: null }]);
  },
);

test.each(["R2_UNAVAILABLE", "WASABI_UNAVAILABLE", "UNAVAILABLE"] as const)(
  "%s is waited out in silence, and is one alert for the client once it has lasted",
  async (code) => {
    const asset = withCopyProblem(await assetOf("acme"), code);
    const after = (minutes: number) => new Date(Date.parse(at) + minutes * 60_000).toISOString();
    expect(alertsOf({ ...asset, updatedAt: after(14) })).toEqual([]);
    expect(alertsOf({ ...asset, updatedAt: after(15) })).toEqual([
      { cause: `${code}:acme`, code, message: `told: ${code}`, fileId: null },
    ]);
  },
);

test("what is tried again is shown on its asset, and is no alert however long it takes", async () => {
  expect(alertsOf(withCopyProblem(await assetOf("acme"), "CHECKSUM_MISMATCH"))).toEqual([]);
});

test("a copy that failed is an alert of its own, unless its client has one for the same reason", async () => {
  const failing = (asset: Asset): Asset => ({
    ...asset,
    renditions: asset.renditions.map((rendition) => ({
      ...rendition,
      copies: rendition.copies.map((copy) => (copy.tier === "lucidlink" ? { ...copy, status: "failed" } : copy)),
    })),
  });
  const refused = failing(withCopyProblem(await assetOf("acme"), "PATH_REFUSED"));
  const { fileId, fileName } = refused;
  expect(alertsOf(refused)).toEqual([
    {
      cause: `failed-copy:${fileId}:lucidlink:360p`,
      code: "PATH_REFUSED",
      message: `360p of ${fileName} on lucidlink failed: told: PATH_REFUSED`,
      fileId,
    },
  ]);
  await publishWithAlerts(env, [refused]);
  expect(await open()).toEqual([[`failed-copy:${fileId}:lucidlink:360p`, 1]]);
  await publishWithAlerts(env, [{ ...withCopyProblem(refused, null), revision: refused.revision + 1 }]);
  expect(await open()).toEqual([[`failed-copy:${fileId}:lucidlink:360p`, 1]]);
  await publishWithAlerts(env, [{ ...(await assetOf("acme")), fileId, revision: refused.revision + 2 }]);
  expect(await open()).toEqual([]);

  const forbidden = failing(withCopyProblem(await assetOf("acme"), "WASABI_FORBIDDEN"));
  expect(alertsOf(forbidden).map(({ cause }) => cause)).toEqual(["WASABI_FORBIDDEN:acme"]);
});

test("an asset that failed is an alert of its own, beside what made it fail", async () => {
  const failed = await assetOf("acme", { state: "failed", problem: problem("WASABI_FORBIDDEN", "Check the keys.") });
  const { fileId, fileName } = failed;
  expect(alertsOf(failed)).toEqual([
    { cause: "WASABI_FORBIDDEN:acme", code: "WASABI_FORBIDDEN", message: "Check the keys.", fileId: null },
    { cause: `failed:${fileId}`, code: "WASABI_FORBIDDEN", message: `${fileName} failed: Check the keys.`, fileId },
  ]);
});

test("raised once and told once, held by each asset that has the problem, cleared with the last", async () => {
  const told: Told[] = [];
  const bench = recordingFeeds(told);
  const [one, two] = [await assetOf("acme"), await assetOf("acme")];
  await publishWithAlerts(bench, [one]);
  expect(await open()).toEqual([]);

  const full = withCopyProblem(one, "LUCIDLINK_FULL");
  await publishWithAlerts(bench, [full]);
  await publishWithAlerts(bench, [full]);
  expect(await open()).toEqual([["LUCIDLINK_FULL:acme", 1]]);
  await publishWithAlerts(bench, [withCopyProblem(two, "LUCIDLINK_FULL")]);
  await publishWithAlerts(bench, [withCopyProblem(await assetOf("other"), "LUCIDLINK_FULL")]);
  expect((await open()).sort()).toEqual([
    ["LUCIDLINK_FULL:acme", 2],
    ["LUCIDLINK_FULL:other", 1],
  ]);
  const frame = {
    type: "alert",
    severity: "warning",
    code: "LUCIDLINK_FULL",
    message: "told: LUCIDLINK_FULL",
    fileId: null,
  };
  expect(told).toEqual(
    ["acme", "other"].flatMap((client) =>
      [client, "*"].map((feed) => ({
        feed: `feed:${feed}`,
        client,
        project: null,
        frame: { ...frame, id: `LUCIDLINK_FULL:${client}` },
      })),
    ),
  );

  await publishWithAlerts(bench, [withCopyProblem(one, null, one.revision + 2)]);
  expect(await open()).toContainEqual(["LUCIDLINK_FULL:acme", 2]);
  await publishWithAlerts(bench, [withCopyProblem(two, null, two.revision + 2)]);
  expect(await open()).toEqual([["LUCIDLINK_FULL:other", 1]]);

  await publishWithAlerts(bench, [withCopyProblem(two, "LUCIDLINK_FULL", two.revision + 3)]);
  expect(await open()).toContainEqual(["LUCIDLINK_FULL:acme", 1]);
  expect(told).toHaveLength(6);
});

test("a problem that becomes another clears the one and raises the other", async () => {
  const asset = await assetOf("acme");
  await publishWithAlerts(env, [withCopyProblem(asset, "LUCIDLINK_UNAVAILABLE")]);
  await publishWithAlerts(env, [withCopyProblem(asset, "LUCIDLINK_NOT_MOUNTED", asset.revision + 2)]);
  expect(await open()).toEqual([["LUCIDLINK_NOT_MOUNTED:acme", 1]]);
});

test("a document that comes late raises nothing and clears nothing", async () => {
  const asset = await assetOf("acme");
  await publishWithAlerts(env, [withCopyProblem(asset, null, asset.revision + 5)]);
  await publishWithAlerts(env, [withCopyProblem(asset, "LUCIDLINK_FULL", asset.revision + 1)]);
  expect(await open()).toEqual([]);
  await publishWithAlerts(env, [withCopyProblem(asset, "LUCIDLINK_FULL", asset.revision + 8)]);
  await publishWithAlerts(env, [withCopyProblem(asset, null, asset.revision + 7)]);
  expect(await open()).toEqual([["LUCIDLINK_FULL:acme", 1]]);
});

test("a feed that is away does not hold up the catalogue", async () => {
  const asset = withCopyProblem(await assetOf("acme"), "LUCIDLINK_FULL");
  await publishWithAlerts(recordingFeeds([], true), [asset]);
  expect(await open()).toEqual([["LUCIDLINK_FULL:acme", 1]]);
});

test("an asset whose original cannot be archived is an alert until it is retried, and its client's admin sees it", async () => {
  const upload = newUpload({ clientName: "acme" });
  await postUpload(upload);
  const asset = (await (await call(`/v1/assets/${upload.fileId}`, { token: await token("admin") })).json()) as Asset;
  const failed: Asset = { ...asset, state: "failed", revision: 5, problem: problem("SIZE_MISMATCH", "Too short.") };
  await publishWithAlerts(env, [failed]);
  const seenBy = async (client: string) => {
    const response = await call("/v1/admin/alerts", { token: await token("admin", [client]) });
    return ((await response.json()) as { alerts: object[] }).alerts;
  };
  const alert = { cause: `failed:${upload.fileId}`, code: "SIZE_MISMATCH", clientName: "acme", fileId: upload.fileId };
  expect(await seenBy("acme")).toMatchObject([alert]);
  expect(await seenBy("*")).toMatchObject([alert]);
  expect(await seenBy("rival")).toEqual([]);
  await publishWithAlerts(env, [{ ...asset, revision: 6 }]);
  expect(await seenBy("acme")).toEqual([]);
});
