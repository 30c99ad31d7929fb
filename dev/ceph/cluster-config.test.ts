import { expect, test } from "vitest";
import { ClusterIdentity, cephConf, makeIdentity } from "./cluster-config.ts";

test("clusters have addresses of their own, so that several run side by side", () => {
  const made = Array.from({ length: 50 }, makeIdentity);
  for (const identity of made) expect(ClusterIdentity.parse(identity).address).toMatch(/^127\./);
  expect(new Set(made.map(({ address }) => address)).size).toBe(made.length);
});

test("nothing listens beyond loopback, and everything lies in the directory", () => {
  const conf = cephConf({ directory: "/data/ceph", port: 7480 }, makeIdentity());
  for (const address of conf.match(/\d+\.\d+\.\d+\.\d+/g) ?? []) expect(address).toMatch(/^127\./);
  for (const path of conf.match(/(?<== )\/\S+/g) ?? []) expect(path).toMatch(/^\/data\/ceph/);
  expect(conf).toContain("endpoint=127.0.0.1:7480");
});
