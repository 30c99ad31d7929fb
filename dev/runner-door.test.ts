/**
 * The runner's own client, the real worker, and the pull API of the local stack: with a relay before the last that counts,
 * makes leases short, and answers by itself when it is told to.
 */
import { createHmac } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import {
  createServer,
  type IncomingMessage,
  request as openRequest,
  type Server,
  type ServerResponse,
} from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { createPullQueue, type PullQueue } from "../gpu-runner/job/pull-queue.ts";
import { jobMessage } from "../gpu-runner/job/testing/protocol-peer.ts";
import { closeServer, listenOnLoopback } from "../gpu-runner/loopback.ts";
import type { Role } from "../schemas/api.ts";
import { testBindings } from "../test/bindings.ts";
import { commandSecrets } from "./persisted-state.ts";
import { choosePorts } from "./port.ts";
import { localAccountId, pullApiUrl } from "./pull-queue.ts";
import { mintToken } from "./secret.ts";
import { signWebhook } from "./standard-webhook.ts";
import { type RunningWorker, startWorker } from "./worker.ts";

type Call = { queue: string; operation: string; body: Record<string, unknown> };
type Misbehaviour = (call: Call, response: ServerResponse) => boolean;

/** null: as long as the worker asks for. */
let leaseMs: number | null = null;
const calls: Call[] = [];
let misbehave: Misbehaviour | null = null;
let folder: string;
let worker: RunningWorker;
let tokens: Record<"runner" | "viewer" | "admin", string>;
const relay: Server = createServer(
  (request, response) => void relayed(request, response).catch(() => response.destroy()),
);
let start: () => Promise<RunningWorker>;
let pullPort: number;
const files = [1, 2, 3];
let secrets: ReadonlyMap<string, string>;

async function relayed(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body: Call["body"] = JSON.parse(
    Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>)).toString(),
  );
  const [, queue = "", operation = ""] = /\/queues\/(.+)\/messages\/(.+)$/.exec(request.url ?? "") ?? [];
  const call = { queue, operation, body };
  calls.push(call);
  if (misbehave?.(call, response)) return;
  const sooner = operation === "pull" && leaseMs !== null ? { visibility_timeout_ms: leaseMs } : {};
  const answer: Response = await fetch(`http://127.0.0.1:${pullPort}${request.url}`, {
    method: "POST",
    headers: { authorization: request.headers.authorization ?? "" },
    body: JSON.stringify({ ...body, ...sooner }),
  });
  response.writeHead(answer.status, { "content-type": "application/json" }).end(await answer.text());
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "runner-door-"));
  const ports = await choosePorts({ pull: null, api: null });
  pullPort = ports.pull;
  const queuesApiUrl = pullApiUrl(await listenOnLoopback(relay));
  start = () =>
    startWorker({
      configPath: fileURLToPath(new URL("../wrangler.toml", import.meta.url)),
      directory: folder,
      port: ports.api,
      bindings: {
        ...testBindings,
        // Whose object lies where is no matter here.
        WASABI_ENDPOINT: "http://127.0.0.1:9",
        QUEUES_API_URL: queuesApiUrl,
        CLOUDFLARE_ACCOUNT_ID: localAccountId,
      },
      pull: {
        port: pullPort,
        token: testBindings.QUEUES_TOKEN,
        queueNames: ["transcode", "transcode-rush"],
        maxRetries: 3,
      },
      faultToken: null,
    });
  worker = await start();
  const mint = (role: Role) => mintToken(JSON.parse(testBindings.JWT_KEYS), role, role, "1h");
  tokens = { runner: await mint("runner"), viewer: await mint("viewer"), admin: await mint("admin") };
  await Promise.all(files.map(createAsset));
  const known = () => {
    const found = commandSecrets(join(folder, "do"));
    expect(found.size).toBe(files.length);
    return found;
  };
  secrets = await vi.waitFor(known, { timeout: 30_000 });
}, 120_000);

async function createAsset(n: number): Promise<void> {
  const { fileId } = jobMessage(n);
  const source = { kind: "wasabi", key: `originals/acme/spring/${fileId}/a.mov` };
  const data = { fileId, clientName: "acme", projectName: "spring", fileName: "a.mov", sizeBytes: 1_000, source };
  const body = JSON.stringify({ type: "upload.completed", timestamp: new Date().toISOString(), data });
  const signature = signWebhook(testBindings.UPLOAD_WEBHOOK_SECRET, `upload-${n}`, new Date(), body);
  const headers = { "content-type": "application/json", ...signature };
  const response = await fetch(new URL("/v1/webhooks/upload", worker.url), { method: "POST", headers, body });
  expect(response.status, await response.text()).toBe(202);
}

afterAll(async () => {
  await worker?.dispose();
  await closeServer(relay);
  await rm(folder, { recursive: true, force: true });
});

/** As its asset sends it. */
function proven(n: number, more: object = {}) {
  const message = { ...jobMessage(n), ...more };
  const inOrder = Object.fromEntries(Object.entries(message).sort(([a], [b]) => (a < b ? -1 : 1)));
  const secret = Buffer.from(secrets.get(message.fileId) ?? "", "hex");
  return { ...message, mac: createHmac("sha256", secret).update(JSON.stringify(inOrder)).digest("hex") };
}

/** Nobody waits, nothing lies in a queue, and the API is well. */
afterEach(async () => {
  misbehave = null;
  leaseMs = null;
  for (const stop of waits.splice(0)) stop.abort();
  const drain = async () => {
    const pulled = await runner({ waitSeconds: 0 }).pull(never);
    if (pulled !== null) await runner().ack(pulled, never);
    return pulled;
  };
  await expect.poll(() => drain().catch(String), { timeout: 60_000, interval: 500 }).toBeNull();
  calls.length = 0;
}, 90_000);

const never = new AbortController().signal;
const waits: AbortController[] = [];

function runner({ waitSeconds = 25, rushOnly = false } = {}): PullQueue {
  return createPullQueue({
    apiUrl: worker.url.href,
    token: tokens.runner,
    waitSeconds,
    rushOnly,
    timeoutMs: 30_000,
    backoff: { baseMs: 10, maxMs: 100 },
    random: Math.random,
  });
}

/** One that waits, until the test is over. */
function waiting(options = {}) {
  const stop = new AbortController();
  waits.push(stop);
  const pulled = runner(options).pull(stop.signal);
  pulled.catch(() => undefined);
  return { pulled, stop };
}

async function post(path: "pull" | "ack" | "retry", body: unknown, role: keyof typeof tokens = "runner") {
  const response = await fetch(new URL(`/v1/runner/messages/${path}`, worker.url), {
    method: "POST",
    headers: { authorization: `Bearer ${tokens[role]}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const type = response.headers.get("content-type");
  return { status: response.status, type, headers: response.headers, json: (await response.json()) as object };
}

const isPull = ({ operation }: Call) => operation === "pull";

/** Until the queues have been looked at so many times more. */
async function looks(count: number): Promise<void> {
  const before = calls.filter(isPull).length;
  // Two queues are pulled in a look.
  await expect.poll(() => calls.filter(isPull).length - before, { timeout: 30_000 }).toBeGreaterThanOrEqual(2 * count);
}

/** Until a look asks for so many messages. */
async function waitedForBy(runners: number): Promise<void> {
  const asks = () => calls.filter(isPull).at(-1)?.body.batch_size;
  await expect.poll(asks, { timeout: 30_000, interval: 20 }).toBe(runners);
}

test("the rush queue is emptied first; each message is settled at its own queue and keeps fields nobody knows here", async () => {
  const newer = proven(1, { of: "a newer version" });
  const rush = proven(2);
  await worker.send("TRANSCODE_QUEUE", newer);
  await worker.send("TRANSCODE_RUSH_QUEUE", rush);
  const first = await waiting().pulled;
  expect(first).toMatchObject({ queue: "transcode-rush", attempts: 1, message: rush });
  const second = await waiting().pulled;
  expect(second).toMatchObject({ queue: "transcode", message: newer });
  for (const pulled of [first, second]) if (pulled !== null) await runner().ack(pulled, never);
  const acks = calls.slice(-2).map(({ queue, operation, body }) => ({ queue, operation, acks: body.acks }));
  expect(acks).toEqual([
    { queue: "transcode-rush", operation: "ack", acks: [{ lease_id: first?.leaseId }] },
    { queue: "transcode", operation: "ack", acks: [{ lease_id: second?.leaseId }] },
  ]);
  expect(calls.find(isPull)?.body.visibility_timeout_ms).toBe(60_000);
});

test("a runner for rush jobs alone leaves the others", async () => {
  await worker.send("TRANSCODE_QUEUE", proven(1));
  const rush = waiting({ rushOnly: true });
  await worker.send("TRANSCODE_RUSH_QUEUE", proven(2));
  const pulled = await rush.pulled;
  expect(pulled).toMatchObject({ queue: "transcode-rush", message: proven(2) });
  const other = await waiting().pulled;
  expect(other).toMatchObject({ queue: "transcode", attempts: 1 });
  for (const each of [pulled, other]) if (each !== null) await runner().ack(each, never);
});

test("however many runners wait, one look is for all of them, and each message goes to one", async () => {
  const runners = Array.from({ length: 6 }, () => waiting());
  await waitedForBy(6);
  await Promise.all(files.map((n) => worker.send("TRANSCODE_QUEUE", proven(n))));
  const served = new Set<string>();
  while (served.size < 3) {
    const open = runners.filter(({ stop }) => !stop.signal.aborted);
    const pulled = await Promise.race(open.map(async (one) => ({ one, message: await one.pulled })));
    pulled.one.stop.abort();
    if (pulled.message === null) throw new Error("a wait ended without a message");
    expect(pulled.message.attempts).toBe(1);
    served.add(pulled.message.message.fileId);
    await runner().ack(pulled.message, never);
  }
});

test("a runner that hangs up while it waits is given nothing: the next message goes to another, at its first delivery", async () => {
  const gone = waiting();
  const other = waiting();
  await waitedForBy(2);
  gone.stop.abort();
  await waitedForBy(1);
  await worker.send("TRANSCODE_QUEUE", proven(1));
  const pulled = await other.pulled;
  expect(pulled).toMatchObject({ attempts: 1, message: proven(1) });
  if (pulled !== null) await runner().ack(pulled, never);
});

test("an answer that never reaches its runner costs one delivery: the message comes again when its lease is over", async () => {
  leaseMs = 300;
  await worker.send("TRANSCODE_QUEUE", proven(1));
  const request = openRequest(new URL("/v1/runner/messages/pull", worker.url), {
    method: "POST",
    headers: { authorization: `Bearer ${tokens.runner}`, "content-type": "application/json" },
  });
  request.on("error", () => undefined);
  request.end(JSON.stringify({ waitSeconds: 25 }));
  // Given away, and lost: as when the runner is killed as the answer is on its way.
  await new Promise((resolve) => request.once("response", resolve));
  request.destroy();
  const pulled = await waiting().pulled;
  expect(pulled?.message).toEqual(proven(1));
  expect(pulled?.attempts).toBe(2);
  if (pulled !== null) await runner().ack(pulled, never);
});

test("a message that is no job goes to no runner: it is given back, and ends as a dead letter", async () => {
  await worker.send("TRANSCODE_QUEUE", { ...jobMessage(1), jobId: "no" });
  await worker.send("TRANSCODE_QUEUE", proven(2));
  const pulled = await waiting().pulled;
  expect(pulled?.message).toEqual(proven(2));
  if (pulled !== null) await runner().ack(pulled, never);
  const retries = () => calls.flatMap(({ body }) => (body.retries as { delay_seconds: number }[]) ?? []);
  await expect.poll(() => retries().map((retry) => retry.delay_seconds)).toContain(60);
});

test("a message that no asset sent goes to no runner, and is taken off its queue", async () => {
  await worker.send("TRANSCODE_QUEUE", jobMessage(1));
  await worker.send("TRANSCODE_QUEUE", { ...proven(2), jobId: "f".repeat(24) });
  await worker.send("TRANSCODE_QUEUE", proven(3));
  const pulled = await waiting().pulled;
  expect(pulled?.message).toEqual(proven(3));
  if (pulled !== null) await runner().ack(pulled, never);
  expect(calls.filter(({ body }) => (body.acks as unknown[] | undefined)?.length === 1)).toHaveLength(3);
  expect(calls.flatMap(({ body }) => (body.retries as unknown[]) ?? [])).toEqual([]);
});

const cutting: Misbehaviour = (_call, response) => {
  response.destroy();
  return true;
};

const refusing =
  (status: number, body = "{}", headers = {}): Misbehaviour =>
  (_call, response) => {
    response.writeHead(status, headers).end(body);
    return true;
  };

test.each([
  ["429", refusing(429, '{"errors":[{"message":"slow down"}]}', { "retry-after": "3" }), /429 \(slow down\)/],
  ["500", refusing(500, "<h1>oops</h1>"), /answered 500/],
  ["401", refusing(401), /check QUEUES_TOKEN/],
  ["404", refusing(404), /check CLOUDFLARE_ACCOUNT_ID, TRANSCODE_(RUSH_)?QUEUE_ID/],
  ["garbage", refusing(200, "not json"), /cannot be read/],
  ["a cut connection", cutting, /did not answer/],
] as const)("the queues' API answers %s: 503 with the reason, and a pause for all", async (_name, how, says) => {
  misbehave = how;
  const refused = await post("pull", { waitSeconds: 25 });
  expect(refused).toMatchObject({ status: 503, type: "application/problem+json" });
  expect(refused.json).toMatchObject({ code: "UNAVAILABLE", detail: expect.stringMatching(says) });
  expect(JSON.stringify(refused.json)).not.toContain(testBindings.QUEUES_TOKEN);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  const asked = calls.length;
  expect(await post("pull", { waitSeconds: 25 })).toMatchObject({ status: 503 });
  expect(calls.length, "asked again within the pause").toBe(asked);
});

test("an API that says nothing is given up after a while, and so is an ack", async () => {
  misbehave = () => true;
  const [pulled, acked] = await Promise.all([
    post("pull", { waitSeconds: 0 }),
    post("ack", { queue: "transcode", leaseId: "l" }),
  ]);
  for (const answer of [pulled, acked]) {
    expect(answer).toMatchObject({ status: 503, type: "application/problem+json", json: { code: "UNAVAILABLE" } });
  }
}, 90_000);

test("who waits while the API fails is told nothing came, and is refused when it asks again", async () => {
  const { pulled } = waiting();
  await looks(2);
  misbehave = refusing(500);
  expect(await pulled).toBeNull();
  await expect(runner().pull(never)).rejects.toMatchObject({ name: "PullRefused", permanent: false });
});

test("a rush queue that cannot be asked holds up no other", async () => {
  misbehave = (call, response) => call.queue === "transcode-rush" && refusing(404)(call, response);
  await worker.send("TRANSCODE_QUEUE", proven(1));
  const serve = () => runner().pull(never).catch(String);
  await expect.poll(serve, { timeout: 60_000, interval: 500 }).toMatchObject({ message: proven(1) });
});

test("a token that the queues' API refuses is an alert until it is taken again", async () => {
  const alerts = async () => {
    const headers = { authorization: `Bearer ${tokens.admin}` };
    const response = await fetch(new URL("/v1/admin/alerts", worker.url), { headers });
    const { alerts: all } = (await response.json()) as { alerts: { cause: string; message: string }[] };
    return all.filter(({ cause }) => cause === "transcode-queues");
  };
  misbehave = refusing(403);
  await expect(runner().pull(never)).rejects.toMatchObject({ name: "PullRefused", permanent: false });
  const alert = { message: expect.stringContaining("check QUEUES_TOKEN") };
  await expect.poll(alerts).toEqual([expect.objectContaining(alert)]);
  misbehave = null;
  await expect.poll(() => runner({ waitSeconds: 0 }).pull(never).catch(String), { timeout: 30_000 }).toBeNull();
  await expect.poll(alerts).toEqual([]);
});

test("a lease that is made up changes nothing, and other queues are out of reach", async () => {
  leaseMs = 300;
  await worker.send("TRANSCODE_QUEUE", proven(1));
  const pulled = await waiting().pulled;
  expect(await post("ack", { queue: "transcode", leaseId: "made-up" })).toMatchObject({ status: 200 });
  expect(await post("retry", { queue: "transcode-rush", leaseId: pulled?.leaseId })).toMatchObject({ status: 200 });
  const asked = calls.filter(({ operation }) => operation === "ack").length;
  const wrong = [
    [{ queue: "archive", leaseId: "l" }, "queue"],
    [{ queue: "../archive", leaseId: "l" }, "queue"],
    [{ queue: "transcode", leaseId: "" }, "leaseId"],
    [{ queue: "transcode", leaseId: 'l"},{"lease_id":"m' }, "leaseId"],
    [{ queue: "transcode", leaseId: "l".repeat(5_000) }, "leaseId"],
    [{ queue: "transcode", leaseId: "l", acks: [] }, "acks"],
  ] as const;
  for (const [body, path] of wrong) {
    const answer = await post("ack", body);
    expect(answer).toMatchObject({ status: 400, type: "application/problem+json" });
    expect(answer.json).toMatchObject({ errors: [{ path }] });
  }
  expect((await post("pull", { waitSeconds: 26 })).json).toMatchObject({ errors: [{ path: "waitSeconds" }] });
  expect(await post("pull", {}, "viewer")).toMatchObject({ status: 403, json: { code: "FORBIDDEN" } });
  expect(calls.filter(({ operation }) => operation === "ack").length).toBe(asked);
  const again = await waiting().pulled;
  expect(again?.message).toEqual(proven(1));
  if (again !== null) await runner().ack(again, never);
});

test("a worker that dies breaks the wait off, and the one after it serves the runner", async () => {
  const { pulled } = waiting();
  await waitedForBy(1);
  await worker.dispose();
  await expect(pulled).rejects.toMatchObject({ name: "Unanswered" });
  worker = await start();
  await worker.send("TRANSCODE_QUEUE", proven(1));
  expect((await waiting().pulled)?.message).toEqual(proven(1));
}, 90_000);
