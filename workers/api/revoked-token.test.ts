/** Tokens that end before their time: refused by every door within a minute, also where D1 is away meanwhile. */
import { beforeEach, expect, test, vi } from "vitest";
import type { RevokedToken } from "../../schemas/revoked-token.ts";
import { call, env, problemOf, token } from "../../test/door-worker.ts";
import { listAudit } from "../stores/audit.ts";
import type { Env } from "../stores/config.ts";
import { forgetEndedTokens } from "../stores/revoked-token.ts";

const admin = await token("admin");
const nowSeconds = () => Math.floor(Date.now() / 1000);

beforeEach(async () => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  // An entry of its own, so that this isolate reads the list again.
  await env.CATALOGUE.prepare("DELETE FROM revoked_tokens").run();
  await revoke({ jti: `fresh-${crypto.randomUUID()}`, reason: "test" });
});

const post = (path: string, json: unknown, as = admin) => call(path, { method: "POST", json, token: as });
const revoke = (json: unknown, as = admin) => post("/v1/admin/tokens/revoke", json, as);
const list = async (as: string, from: Env = env) => (await call("/v1/assets", { token: as, env: from })).status;
const entries = async () => {
  const answer = await call("/v1/admin/tokens/revoked", { token: admin });
  const { tokens } = (await answer.json()) as { tokens: RevokedToken[] };
  return tokens.filter(({ reason }) => reason !== "test");
};

test("a token is ended by its jti, alone, with its reason on record", async () => {
  const [one, other] = [await token("viewer", ["*"], { jti: "box-1" }), await token("viewer", ["*"], { jti: "box-2" })];
  expect([await list(one), await list(other)]).toEqual([200, 200]);
  const exp = nowSeconds() + 600;
  const answer = await revoke({ jti: "box-1", exp, reason: "the machine was stolen" });
  const entry = { kind: "jti", value: "box-1", issuedBefore: null, exp, reason: "the machine was stolen" };
  expect(await answer.json()).toMatchObject({ ...entry, revokedBy: "admin:test-admin" });
  const refused = await call("/v1/assets", { token: one });
  expect(await problemOf(refused)).toMatchObject({
    status: 401,
    code: "UNAUTHENTICATED",
    detail: "The token was revoked.",
  });
  expect(await list(other)).toBe(200);
  expect(await entries()).toMatchObject([entry]);
  const [line] = await listAudit(env.CATALOGUE, ["*"], { beforeId: null, limit: 1 });
  expect(line).toMatchObject({ action: "token.revoked", by: "admin:test-admin", detail: { value: "box-1" } });
  expect(JSON.stringify(line)).not.toContain(one);
});

test("tokens of a subject that were issued before a moment end, and those that do not say when", async () => {
  const at = nowSeconds();
  const mint = (iat?: number) => token("viewer", ["*"], { sub: "gpu-box", ...(iat === undefined ? {} : { iat }) });
  const [unsaid, old, young] = [await mint(), await mint(at - 100), await mint(at - 10)];
  expect((await revoke({ sub: "gpu-box", issuedBefore: at - 50, reason: "left" })).status).toBe(200);
  expect([await list(unsaid), await list(old), await list(young)]).toEqual([401, 401, 200]);
  expect(await list(await token("viewer", ["*"], { sub: "another" }))).toBe(200);
  await revoke({ sub: "gpu-box", reason: "all of them" });
  expect(await list(young)).toBe(401);
  // An earlier moment takes nothing back.
  await revoke({ sub: "gpu-box", issuedBefore: 1, reason: "a mistake" });
  expect(await list(young)).toBe(401);
  expect(await list(await mint(at + 5))).toBe(200);
});

test("a ticket ends with the token that it was issued to", async () => {
  const viewer = await token("viewer", ["*"], { jti: "watcher" });
  const { ticket } = (await (await post("/v1/tickets", {}, viewer)).json()) as { ticket: string };
  await revoke({ jti: "watcher", reason: "left" });
  const opened = await call(`/v1/status?ticket=${ticket}`, { headers: { upgrade: "websocket" } });
  expect((await problemOf(opened)).code).toBe("UNAUTHENTICATED");
});

test.each([
  [{ reason: "x" }, "jti"],
  [{ jti: "a", sub: "b", reason: "x" }, "jti"],
  [{ jti: "a", issuedBefore: 5, reason: "x" }, "issuedBefore"],
  [{ sub: "a", issuedBefore: 99_999_999_999, reason: "x" }, "issuedBefore"],
  [{ jti: "a" }, "reason"],
  [{ jti: "a", exp: Date.now(), reason: "x" }, "exp"],
  [{ jti: "a".repeat(201), reason: "x" }, "jti"],
])("%j is refused, naming the field, and ends nothing", async (body, path) => {
  const problem = await problemOf(await revoke(body));
  expect(problem.code).toBe("BAD_REQUEST");
  expect(problem.errors?.map((error) => error.path)).toContain(path);
  expect(await entries()).toEqual([]);
});

test("only an admin of every client ends tokens, and sees which were", async () => {
  for (const as of [await token("admin", ["acme"]), await token("viewer")]) {
    expect((await revoke({ jti: "a", reason: "x" }, as)).status).toBe(403);
    expect((await call("/v1/admin/tokens/revoked", { token: as })).status).toBe(403);
  }
  expect((await call("/v1/admin/tokens/revoke", { method: "POST", json: { jti: "a", reason: "x" } })).status).toBe(401);
  expect((await problemOf(await call("/v1/admin/tokens/revoked?cursor=x", { token: admin }))).code).toBe("BAD_REQUEST");
});

/** The same worker in another isolate: its own copy of the list. */
function otherIsolate(over: { fails?: () => boolean } = {}): { env: Env; reads: () => number } {
  let reads = 0;
  const real = env.CATALOGUE;
  const database = {
    prepare(sql: string) {
      if (!sql.includes("FROM revoked_tokens")) return real.prepare(sql);
      reads++;
      if (over.fails?.()) throw new Error("D1 is away");
      return real.prepare(sql);
    },
    batch: (statements: D1PreparedStatement[]) => real.batch(statements),
  } as unknown as D1Database;
  return { env: { ...env, CATALOGUE: database }, reads: () => reads };
}

test("another isolate knows within a minute, and reads the list once for a flood", async () => {
  const isolate = otherIsolate();
  const viewer = await token("viewer", ["*"], { jti: "flood", expiresInSeconds: 3_600 });
  const many = await Promise.all(Array.from({ length: 50 }, () => list(viewer, isolate.env)));
  expect([new Set(many), isolate.reads()]).toEqual([new Set([200]), 1]);
  await revoke({ jti: "flood", reason: "leaked" });
  expect(await list(viewer, isolate.env)).toBe(200);
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 59_000 });
  expect(await list(viewer, isolate.env)).toBe(401);
  expect(isolate.reads()).toBe(2);
});

test("while D1 is away the last copy holds; an isolate without one lets good signatures in, and says so", async () => {
  const told = vi.spyOn(console, "error").mockImplementation(() => undefined);
  let away = false;
  const seasoned = otherIsolate({ fails: () => away });
  const fresh = otherIsolate({ fails: () => away });
  const viewer = await token("viewer", ["*"], { jti: "outage", expiresInSeconds: 3_600 });
  await revoke({ jti: "outage", reason: "leaked" });
  expect(await list(viewer, seasoned.env)).toBe(401);
  away = true;
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 300_000 });
  expect(await list(viewer, seasoned.env)).toBe(401);
  expect(await list(viewer, fresh.env)).toBe(200);
  expect(told.mock.calls.filter(([line]) => String(line).includes("token.denylist-unread"))).toHaveLength(2);
  // Not asked again and again meanwhile.
  const reads = fresh.reads();
  await Promise.all(Array.from({ length: 20 }, () => list(viewer, fresh.env)));
  expect(fresh.reads()).toBe(reads);
  away = false;
  vi.setSystemTime(Date.now() + 10_000);
  expect(await list(viewer, fresh.env)).toBe(401);
});

test("an entry goes when its token is over, and stays where nobody said when that is", async () => {
  const exp = nowSeconds() + 60;
  await revoke({ jti: "a", exp, reason: "x" });
  await revoke({ jti: "b", reason: "x" });
  await forgetEndedTokens(env.CATALOGUE, exp * 1000 - 1);
  expect((await entries()).map(({ value }) => value)).toEqual(["a", "b"]);
  await forgetEndedTokens(env.CATALOGUE, exp * 1000);
  expect((await entries()).map(({ value }) => value)).toEqual(["b"]);
});
