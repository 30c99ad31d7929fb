import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { closedLoop, openLoop, percentile } from "./range-load.ts";

async function serve(status: number, shortBy = 0, keptMs = 60_000) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const { range = "" } = request.headers;
    asked.push(range);
    const [, from = "0", to = "0"] = /^bytes=(\d+)-(\d+)$/.exec(range) ?? [];
    const body = Buffer.alloc(Number(to) - Number(from) + 1 - shortBy);
    response.writeHead(status, { "content-length": body.length }).end(body);
    setTimeout(() => request.socket.destroy(), keptMs).unref();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return { asked, target: { url, sizeBytes: 1_000, rangeBytes: 10 } };
}

test("both loops ask for ranges inside the file only, and count the answers", async () => {
  const { asked, target } = await serve(206);
  expect(await closedLoop(target, { connections: 3, seconds: 0.1 })).toBeGreaterThan(0);
  const times = await openLoop(target, { perSecond: 100, seconds: 0.2 });
  expect(times).toHaveLength(20);
  expect(times).toEqual([...times].sort((a, b) => a - b));
  for (const range of asked) {
    const [from = Number.NaN, to = Number.NaN] = range.replace("bytes=", "").split("-").map(Number);
    expect(to - from).toBe(9);
    expect(to).toBeLessThan(1_000);
  }
});

test.each([
  ["another status", 200, 0],
  ["too few bytes", 206, 1],
])("%s is no answer: the run fails", async (_name, status, shortBy) => {
  const { target } = await serve(status, shortBy);
  await expect(closedLoop(target, { connections: 2, seconds: 0.1 })).rejects.toThrow("was answered");
  await expect(openLoop(target, { perSecond: 100, seconds: 0.1 })).rejects.toThrow("was answered");
});

test("a server that goes away ends the run", async () => {
  const server = createServer((request) => request.socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const target = { url, sizeBytes: 1_000, rangeBytes: 10 };
  await expect(closedLoop(target, { connections: 2, seconds: 0.1 })).rejects.toThrow("was closed");
});

test("a connection that the server ends while nobody asks is not used again", async () => {
  const { target } = await serve(206, 0, 20);
  expect(await openLoop(target, { perSecond: 10, seconds: 0.5 })).toHaveLength(5);
});

test("percentiles are by nearest rank", () => {
  const values = Array.from({ length: 200 }, (_, index) => index + 1);
  expect(percentile(values, 99)).toBe(198);
  expect(percentile(values, 50)).toBe(100);
  expect(percentile([7], 99)).toBe(7);
  expect(() => percentile([], 99)).toThrow(RangeError);
});
