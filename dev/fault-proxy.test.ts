/** Each fault as a client meets it, over real sockets; and that nothing stays open. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import WebSocket, { WebSocketServer } from "ws";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.ts";
import type { FaultRule } from "./fault-rule.ts";

const body = Buffer.alloc(90_000, "0123456789");
const token = "door-token";
let target: Server;
let sockets: WebSocketServer;
let proxy: FaultProxy;
let base: string;

beforeAll(async () => {
  target = createServer((request, response) => {
    request.resume().on("end", () => {
      response.writeHead(200, { "content-length": body.length });
      response.end(request.method === "HEAD" ? undefined : body);
    });
  });
  sockets = new WebSocketServer({ server: target });
  sockets.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
  target.listen(0, "127.0.0.1");
  await once(target, "listening");
  const targetPort = (target.address() as AddressInfo).port;
  proxy = await startFaultProxy({ port: 0, token, links: [{ name: "a", port: 0, targetPort }] });
  base = `http://127.0.0.1:${proxy.link("a").port}`;
});

afterEach(() => set({ kind: "pass" }));

afterAll(async () => {
  await proxy.close();
  expect(proxy.link("a").status().openConnections).toBe(0);
  target.closeAllConnections();
  target.close();
});

function set(rule: FaultRule): void {
  proxy.link("a").setRule(rule);
}

const struck = () => proxy.link("a").status().struck;
const get = (init: RequestInit = {}) => fetch(`${base}/file`, { signal: AbortSignal.timeout(10_000), ...init });
const read = async (init: RequestInit = {}) => Buffer.from(await (await get(init)).arrayBuffer());

async function timed<T>(work: () => Promise<T>): Promise<{ value: T; tookMs: number }> {
  const from = performance.now();
  return { value: await work(), tookMs: performance.now() - from };
}

test("pass: bytes both ways are as they were, also after one another on one connection", async () => {
  for (let n = 0; n < 3; n++) expect((await read()).equals(body)).toBe(true);
  expect((await get({ method: "HEAD" })).headers.get("content-length")).toBe(String(body.length));
  expect((await read({ method: "PUT", body: Buffer.alloc(300_000, "x") })).equals(body)).toBe(true);
  expect(struck()).toBe(0);
});

test("refuse: open connections break, new ones are reset; lifted, all is well", async () => {
  const idle = connect(proxy.link("a").port, "127.0.0.1").on("error", () => undefined);
  await once(idle, "connect");
  await read();
  const broken = new Promise((resolve) => idle.once("close", resolve));
  set({ kind: "refuse" });
  await broken;
  expect(struck()).toBe(0);
  await expect(get()).rejects.toThrow();
  expect(struck()).toBeGreaterThan(0);
  set({ kind: "pass" });
  expect((await read()).length).toBe(body.length);
});

test("cut: at a share of the whole, and after so many bytes", async () => {
  set({ kind: "cut", after: { share: 1 / 3 } });
  const response = await get();
  let got = 0;
  await expect(
    (async () => {
      for await (const chunk of response.body ?? []) got += chunk.length;
    })(),
  ).rejects.toThrow();
  expect(got).toBeLessThanOrEqual(30_000);
  await expect(get({ method: "HEAD" })).rejects.toThrow();
  set({ kind: "cut", after: { bytes: 100_000 } });
  expect((await read()).length).toBe(body.length);
  expect(struck()).toBe(0);
});

test("stall: silent until it is lifted, then whole", async () => {
  set({ kind: "stall", lasting: false });
  const reading = read();
  await expect(Promise.race([reading, new Promise((resolve) => setTimeout(resolve, 300, "silent"))])).resolves.toBe(
    "silent",
  );
  set({ kind: "pass" });
  expect((await reading).equals(body)).toBe(true);
});

test("a lasting stall outlives the rule on its own connection, and on no other", async () => {
  set({ kind: "stall", lasting: true });
  await expect(get({ signal: AbortSignal.timeout(300) })).rejects.toThrow(/timeout/i);
  set({ kind: "pass" });
  expect((await read()).length).toBe(body.length);
});

test("throttle: takes its time, loses nothing; lifted half-way, the rest comes at once", async () => {
  set({ kind: "throttle", bytesPerSecond: 150_000 });
  const { value, tookMs } = await timed(() => read());
  expect(value.equals(body)).toBe(true);
  expect(tookMs).toBeGreaterThan(400);
  set({ kind: "throttle", bytesPerSecond: 1_000 });
  setTimeout(set, 200, { kind: "pass" });
  expect((await timed(() => read())).tookMs).toBeLessThan(5_000);
});

test("answer: 503 with Retry-After and Wasabi's 403, also to a large upload, on a connection that was in use", async () => {
  await read();
  set({ kind: "answer", answer: "503", retryAfterSeconds: 7 });
  const busy = await get();
  expect([busy.status, busy.headers.get("retry-after")]).toEqual([503, "7"]);
  set({ kind: "answer", answer: "rate-limit" });
  const limited = await get({ method: "PUT", body: Buffer.alloc(2_000_000) });
  expect(limited.status).toBe(403);
  expect(await limited.text()).toContain("RequestRateLimitExceeded");
  expect(struck()).toBe(1);
});

test("slow first byte: every exchange waits, and lifting ends the wait", async () => {
  set({ kind: "slow-first-byte", delayMs: 300 });
  expect((await timed(() => read())).tookMs).toBeGreaterThan(290);
  set({ kind: "slow-first-byte", delayMs: 60_000 });
  setTimeout(set, 200, { kind: "pass" });
  expect((await timed(() => read())).tookMs).toBeLessThan(5_000);
});

test("only: others pass", async () => {
  set({ kind: "answer", answer: "503", only: { method: "PUT" } });
  expect((await get()).status).toBe(200);
  expect((await get({ method: "PUT", body: "x" })).status).toBe(503);
});

test("a WebSocket passes, and is cut", async () => {
  const socket = new WebSocket(`${base.replace("http", "ws")}/socket`);
  await once(socket, "open");
  socket.send("hello");
  expect(String((await once(socket, "message"))[0])).toBe("hello");
  socket.on("error", () => undefined);
  const closed = once(socket, "close");
  set({ kind: "cut", after: { bytes: 0 } });
  socket.send("again");
  await closed;
});

test("a target that is down looks like a cut", async () => {
  const down = await startFaultProxy({ port: 0, token, links: [{ name: "a", port: 0, targetPort: 1 }] });
  await expect(fetch(`http://127.0.0.1:${down.link("a").port}/`)).rejects.toThrow();
  await down.close();
});

test("the door: told with a token only, and only what is a rule", async () => {
  const door = `http://127.0.0.1:${proxy.port}/links`;
  const ask = (path: string, init: RequestInit = {}, bearer = token) =>
    fetch(`${door}${path}`, { ...init, headers: { authorization: `Bearer ${bearer}` } });
  expect((await ask("", {}, "wrong")).status).toBe(401);
  expect((await ask("/b")).status).toBe(404);
  expect((await ask("/a", { method: "PUT", body: `{"kind":"explode"}` })).status).toBe(400);
  const told = await ask("/a", { method: "PUT", body: `{"kind":"refuse"}` });
  expect(await told.json()).toMatchObject({ rule: { kind: "refuse" }, struck: expect.any(Number) });
  expect(await (await ask("", { method: "DELETE" })).json()).toMatchObject({
    a: { rule: { kind: "pass" }, struck: 0 },
  });
});
