/** What is no proxy is found wherever it lies in the bucket, told once, and never touched. */
import { beforeEach, expect, test } from "vitest";
import { edgeKey } from "../../schemas/key.ts";
import { env } from "../../test/door-worker.ts";
import { listAlerts } from "../stores/incident.ts";
import { strangerCause, sweepEdgeStrangers } from "./edge-stranger.ts";

const nowMs = Date.UTC(2026, 5, 1);
const hourMs = 60 * 60_000;
const limits = { restMs: 24 * hourMs, staleMs: 96 * hourMs, pages: 2, keys: 2 };
const original = "originals/acme/spring/507f1f77bcf86cd799439011/A001.mov";

beforeEach(async () => {
  const { objects } = await env.PROXIES.list();
  await env.PROXIES.delete(objects.map(({ key }) => key));
  for (const table of ["sweeps", "edge_strangers", "alerts"]) await env.CATALOGUE.prepare(`DELETE FROM ${table}`).run();
});

async function putProxies(count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) await env.PROXIES.put(edgeKey(n.toString(16).padStart(24, "0"), "360p"), "x");
}

const alerts = async () => (await listAlerts(env.CATALOGUE, 10)).filter(({ cause }) => cause === strangerCause);

test("over as many ticks as the bucket takes, and then not again until the next day", async () => {
  await putProxies(9);
  await env.PROXIES.put("zz-note.txt", "note");
  await sweepEdgeStrangers(env, nowMs, limits);
  await sweepEdgeStrangers(env, nowMs + 60_000, limits);
  expect(await alerts()).toEqual([]);
  await sweepEdgeStrangers(env, nowMs + 120_000, limits);
  expect(await alerts()).toMatchObject([
    { code: "R2_STRANGER", message: expect.stringContaining("zz-note.txt"), times: 1 },
  ]);
  await env.PROXIES.put("zz-second.txt", "note");
  await sweepEdgeStrangers(env, nowMs + 180_000, limits);
  expect((await alerts())[0]?.message).not.toContain("second");
  for (let tick = 0; tick < 3; tick += 1) await sweepEdgeStrangers(env, nowMs + 24 * hourMs + tick * 60_000, limits);
  expect((await alerts())[0]?.message).toContain("zz-second.txt");
});

test("an original is told by its key, stays where it is, and the alert goes when somebody has taken it away", async () => {
  await putProxies(3);
  await env.PROXIES.put(original, "original");
  await sweepEdgeStrangers(env, nowMs);
  expect(await alerts()).toMatchObject([{ code: "R2_STRANGER", message: expect.stringContaining(original) }]);
  expect(await env.PROXIES.head(original)).not.toBeNull();
  await env.PROXIES.delete(original);
  await sweepEdgeStrangers(env, nowMs + 24 * hourMs);
  expect(await alerts()).toEqual([]);
});

test("a bucket that cannot be listed changes nothing, and is listed from the same page at the next tick", async () => {
  await env.PROXIES.put("stranger.txt", "x");
  await putProxies(3);
  await sweepEdgeStrangers(env, nowMs, { ...limits, pages: 1 });
  const broken = {
    ...env,
    PROXIES: { list: () => Promise.reject(new Error("(10001)")) } as unknown as typeof env.PROXIES,
  };
  await expect(sweepEdgeStrangers(broken, nowMs + 60_000, limits)).rejects.toMatchObject({ code: "R2_UNAVAILABLE" });
  await sweepEdgeStrangers(env, nowMs + 120_000, limits);
  expect(await alerts()).toMatchObject([{ message: expect.stringContaining("stranger.txt") }]);
});
