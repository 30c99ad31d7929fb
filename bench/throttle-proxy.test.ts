import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { startThrottleProxy } from "./throttle-proxy.ts";

const bytes = randomBytes(3 * 1024 ** 2);
const shaOf = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function proxied(bytesPerSecond: number): Promise<string> {
  const server = createServer((request, response) => {
    const hash = createHash("sha256");
    request.on("data", (chunk) => hash.update(chunk));
    request.on("end", () => response.end(request.method === "PUT" ? hash.digest("hex") : bytes));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const targetPort = (server.address() as AddressInfo).port;
  const proxy = await startThrottleProxy({ port: 0, targetPort, bytesPerSecond });
  closers.push(
    () => proxy.close(),
    () => server.close(),
    () => server.closeAllConnections(),
  );
  return `http://127.0.0.1:${proxy.port}/`;
}

test("what passes is what was sent, both ways, on several connections at a time", async () => {
  const url = await proxied(30e6);
  const received = await Promise.all([1, 2, 3].map(async () => (await fetch(url)).arrayBuffer()));
  for (const data of received) expect(shaOf(new Uint8Array(data))).toBe(shaOf(bytes));
  const echoed = await fetch(url, { method: "PUT", body: bytes });
  expect(await echoed.text()).toBe(shaOf(bytes));
});

test("closing ends what is under way", async () => {
  const url = await proxied(1e6);
  const reader = (await fetch(url)).body?.getReader();
  await reader?.read();
  await closers.shift()?.();
  const readToEnd = async () => {
    while (!(await reader?.read())?.done);
  };
  await expect(readToEnd()).rejects.toThrow();
});
