/** Where a connection goes changes, what it is called does not. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { connectMapVariable, redirected } from "./connect-map.ts";

test("every way to name a port is understood, and other ports are left alone", () => {
  const map = { "80": 8080 };
  expect(redirected([[{ port: 80, host: "h" }, null]], map)).toEqual([[{ port: 8080, host: "h" }, null]]);
  expect(redirected([{ port: "80" }], map)).toEqual([{ port: 8080 }]);
  expect(redirected([80, "h"], map)).toEqual([8080, "h"]);
  expect(redirected([443, "h"], map)).toEqual([443, "h"]);
  expect(redirected([{ path: "/socket" }], map)).toEqual([{ path: "/socket" }]);
});

test("preloaded, fetch and WebSockets go through the map under the name that was asked for", async () => {
  const hosts: string[] = [];
  const server = createServer((request, response) => {
    hosts.push(request.headers.host ?? "");
    response.end("here");
  });
  server.on("upgrade", (request, socket) => {
    hosts.push(request.headers.host ?? "");
    socket.end("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const script = `
    import WebSocket from "ws";
    const text = await (await fetch("http://127.0.0.1:8123/")).text();
    if (text !== "here") process.exit(1);
    const socket = new WebSocket("ws://127.0.0.1:8123/");
    socket.on("error", () => process.exit(0));`;
  const preload = fileURLToPath(new URL("connect-map.ts", import.meta.url));
  const child = spawn(process.execPath, ["--import", preload, "--input-type=module", "-e", script], {
    stdio: "inherit",
    env: { ...process.env, [connectMapVariable]: JSON.stringify({ "8123": (server.address() as AddressInfo).port }) },
    timeout: 20_000,
  });
  const [code] = (await once(child, "close")) as [number | null];
  server.close();
  server.closeAllConnections();
  expect(code).toBe(0);
  expect(hosts).toEqual(["127.0.0.1:8123", "127.0.0.1:8123"]);
});
