/** /healthz is open to everybody, so a flood of it must cost the database and the objects nothing. */
import { afterEach, expect, test, vi } from "vitest";
import { call, env, problemOf } from "../../test/door-worker.ts";
import type { Env } from "../stores/config.ts";

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** One isolate, whose looks at the database and at objects are counted. */
function isolate(fails: { database?: () => boolean; objects?: () => boolean } = {}) {
  const looks = { database: 0, objects: 0 };
  const database = {
    prepare: (sql: string) => ({
      first: async () => {
        looks.database++;
        if (fails.database?.()) throw new Error("D1 is away");
        return env.CATALOGUE.prepare(sql).first();
      },
    }),
  };
  const objects = {
    getByName: (name: string) => ({
      view: async () => {
        looks.objects++;
        if (fails.objects?.()) throw new Error("objects are away");
        return (env.ASSET.getByName(name) as unknown as { view(): Promise<unknown> }).view();
      },
    }),
  };
  return { looks, env: { ...env, CATALOGUE: database, ASSET: objects } as unknown as Env };
}

const ask = (bindings: Env, method = "GET") => call("/healthz", { env: bindings, method });
const flood = async (bindings: Env, count = 200) =>
  new Set((await Promise.all(Array.from({ length: count }, () => ask(bindings)))).map(({ status }) => status));

test("a flood is one look, also by HEAD, and the next look is five seconds later", async () => {
  const { looks, env: bindings } = isolate();
  expect(await flood(bindings)).toEqual(new Set([200]));
  expect(await (await ask(bindings)).json()).toMatchObject({ status: "ok" });
  expect((await ask(bindings, "HEAD")).status).toBe(200);
  expect(looks).toEqual({ database: 1, objects: 1 });
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 5_001 });
  expect(await flood(bindings)).toEqual(new Set([200]));
  expect(looks).toEqual({ database: 2, objects: 2 });
});

test.each(["database", "objects"] as const)(
  "an outage of the %s is told, and looked at no more often",
  async (what) => {
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    let away = true;
    const { looks, env: bindings } = isolate({ [what]: () => away });
    expect(await flood(bindings)).toEqual(new Set([503]));
    const problem = await problemOf(await ask(bindings));
    expect(problem).toMatchObject({ code: "UNAVAILABLE", detail: `The ${what} cannot be reached.` });
    expect(looks.database).toBe(1);
    expect(looks.objects).toBeLessThanOrEqual(1);
    away = false;
    expect((await ask(bindings)).status).toBe(503);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 5_001 });
    expect((await ask(bindings)).status).toBe(200);
  },
);
