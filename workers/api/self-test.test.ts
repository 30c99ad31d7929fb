/** The self-test: what it finds of a store that works, of one that does not, and who may ask. */
import { beforeEach, expect, test } from "vitest";
import { SelfTestReport } from "../../schemas/self-test.ts";
import { call, env, problemOf, token } from "../../test/door-worker.ts";
import { localWasabiConfig } from "../../test/local-wasabi-worker.ts";
import type { Env } from "../stores/config.ts";
import { wasabiStore } from "../stores/wasabi.ts";

const path = "/v1/admin/self-test";
const admin = await token("admin");
const wasabi = localWasabiConfig();
const local: Env = {
  ...env,
  ENVIRONMENT: "local",
  WASABI_ENDPOINT: wasabi.endpoint,
  LUCID_AGENT_URL: "http://127.0.0.1:1",
};

beforeEach(async () => {
  await env.CATALOGUE.prepare("DELETE FROM sweeps").run();
});

async function report(over: Env): Promise<SelfTestReport> {
  const response = await call(path, { method: "POST", token: admin, env: over });
  expect(response.status).toBe(200);
  return SelfTestReport.parse(await response.json());
}

const outcomes = ({ checks }: SelfTestReport) => Object.fromEntries(checks.map(({ name, outcome }) => [name, outcome]));

/** Miniflare's S3 answers these 501. */
const mayLack = ["ListParts", "ListMultipartUploads and AbortMultipartUpload"];

test("tries every operation on keys of its own, and leaves nothing that grows", async () => {
  const first = await report(local);
  for (const [name, outcome] of Object.entries(outcomes(first))) {
    if (!mayLack.includes(name)) expect(outcome, name).toBe("ok");
    else expect(outcome, name).not.toBe("failed");
  }
  expect(Object.keys(outcomes(first)).length).toBeGreaterThan(10);
  const head = await wasabiStore(wasabi).head("proxies/.self-test/clip.mp4");
  expect(head?.sizeBytes).toBe(4096);
  expect(first.settings).toMatchObject({ wasabiEndpoint: wasabi.endpoint, wasabiAccessKeyId: wasabi.accessKeyId });
  expect(JSON.stringify(first)).not.toContain(wasabi.secretAccessKey);
});

test("an operation that the store lacks is a failure of a real deployment", async () => {
  const lenient = outcomes(await report(local));
  await env.CATALOGUE.prepare("DELETE FROM sweeps").run();
  const strict = outcomes(await report({ ...local, ENVIRONMENT: "production" }));
  for (const name of mayLack) {
    expect(strict[name], name).toBe(lenient[name] === "not-checkable" ? "failed" : lenient[name]);
  }
});

test("wrong keys fail every check, and no address is told", async () => {
  const found = await report({ ...local, WASABI_SECRET_ACCESS_KEY: "wrong" });
  for (const { name, outcome, detail } of found.checks) {
    expect(outcome, name).toBe("failed");
    expect(detail).not.toContain(wasabi.endpoint);
  }
});

test("tells the migrations of its database, and that nobody answers as the agent", async () => {
  const found = await report(local);
  expect(found.database?.migrations[0]).toBe("0001_initial.sql");
  expect(found.agent).toEqual({ health: null, clockSkewMs: null, takesToken: null });
  expect(found.runner).toEqual({ waiting: 0, pullTrouble: null, encoding: 0, lastReadDay: null });
  expect(Math.abs(Date.parse(found.at) - Date.now())).toBeLessThan(60_000);
});

test("a database that cannot be asked is told, not thrown", async () => {
  const broken = { prepare: () => ({ bind: () => ({ run: () => Promise.reject(new Error("gone")) }) }) };
  const found = await report({ ...local, CATALOGUE: broken as unknown as D1Database });
  expect(found.database).toBeNull();
});

test("a worker with wrong settings says which, and no value", async () => {
  const response = await call("/healthz", {
    env: { ...local, JWT_KEYS: "hunter2", WASABI_REGION: "" } as unknown as Env,
  });
  const { status, detail } = await problemOf(response);
  expect(status).toBe(500);
  expect(detail).toBe("The worker's settings are not valid. WASABI_REGION: must not be empty; JWT_KEYS: must be JSON");
});

test("a second one at the same time is refused, and so is a token of some clients", async () => {
  const scoped = await call(path, { method: "POST", token: await token("admin", ["acme"]), env: local });
  expect(await problemOf(scoped)).toMatchObject({ status: 403, code: "FORBIDDEN" });
  await report(local);
  const second = await call(path, { method: "POST", token: admin, env: local });
  expect(second.headers.get("retry-after")).toBe("10");
  expect(await problemOf(second)).toMatchObject({ status: 409, code: "CONFLICT" });
});
