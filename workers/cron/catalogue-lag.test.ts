/** The catalogue's lag as operators see it: one number, the minutes behind it, and an alert while it is far behind. */
import { beforeEach, expect, test } from "vitest";
import type { CatalogueLag } from "../../schemas/catalogue-lag.ts";
import { call, env, problemOf, token } from "../../test/door-worker.ts";
import { lagSince, noteWritten } from "../stores/catalogue-lag.ts";
import { listAlerts } from "../stores/incident.ts";
import { catalogueLagCause, watchCatalogueLag } from "./catalogue-lag.ts";

const minuteMs = 60_000;

beforeEach(() =>
  env.CATALOGUE.batch(["catalogue_lag", "alerts"].map((t) => env.CATALOGUE.prepare(`DELETE FROM ${t}`))),
);

const open = async () =>
  (await listAlerts(env.CATALOGUE, 10))
    .filter(({ cause }) => cause === catalogueLagCause)
    .map(({ message }) => message);

test("is raised while a change of the last minutes was listed late, and cleared when that is over", async () => {
  const nowMs = Date.now();
  await noteWritten(env.CATALOGUE, { rows: 3, worstMs: 60_000 }, nowMs);
  await watchCatalogueLag(env, nowMs);
  expect(await open()).toEqual([]);
  await noteWritten(env.CATALOGUE, { rows: 1, worstMs: 61_000 }, nowMs);
  await watchCatalogueLag(env, nowMs);
  await watchCatalogueLag(env, nowMs + 3 * minuteMs);
  expect(await open()).toEqual(["Within the last five minutes a change was listed only after 61 s."]);
  await watchCatalogueLag(env, nowMs + 6 * minuteMs);
  expect(await open()).toEqual([]);
});

test("its minutes are kept for a day", async () => {
  const nowMs = Date.now();
  await noteWritten(env.CATALOGUE, { rows: 1, worstMs: 5 }, nowMs);
  await watchCatalogueLag(env, nowMs + 23 * 60 * minuteMs);
  expect(await lagSince(env.CATALOGUE, 0)).toHaveLength(1);
  await watchCatalogueLag(env, nowMs + 25 * 60 * minuteMs);
  expect(await lagSince(env.CATALOGUE, 0)).toEqual([]);
});

test("GET /v1/admin/catalogue tells it to operators of every client", async () => {
  const ask = async (clients: string[]) => call("/v1/admin/catalogue", { token: await token("admin", clients) });
  expect(await (await ask(["*"])).json()).toEqual({ lagMs: null, minutes: [] });
  const nowMs = Date.now();
  await noteWritten(env.CATALOGUE, { rows: 2, worstMs: 9_000 }, nowMs - 20 * minuteMs);
  await noteWritten(env.CATALOGUE, { rows: 7, worstMs: 800 }, nowMs);
  const lag = (await (await ask(["*"])).json()) as CatalogueLag;
  expect(lag).toMatchObject({
    lagMs: 800,
    minutes: [
      { written: 7, worstMs: 800 },
      { written: 2, worstMs: 9_000 },
    ],
  });
  expect((await problemOf(await ask(["acme"]))).code).toBe("FORBIDDEN");
});
