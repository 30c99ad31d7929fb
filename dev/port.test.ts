import { createServer, type Server } from "node:net";
import { afterEach, expect, test } from "vitest";
import { choosePorts, isFree } from "./port.ts";

const servers: Server[] = [];

async function occupy(): Promise<number> {
  const server = createServer();
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as { port: number }).port;
}

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

test("a port in use is given up, and no two names get the same one", async () => {
  const taken = await occupy();
  expect(await isFree(taken)).toBe(false);
  const chosen = await choosePorts({ a: taken, b: taken, c: null, d: null });
  expect(Object.values(chosen)).not.toContain(taken);
  expect(new Set(Object.values(chosen)).size).toBe(4);
});

test("the preferred port is kept where it is free, once", async () => {
  const { port } = await choosePorts({ port: null });
  const chosen = await choosePorts({ first: port, second: port });
  expect(chosen.first).toBe(port);
  expect(chosen.second).not.toBe(port);
});
