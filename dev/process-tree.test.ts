import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { groupMembers, identify, isAlive, killOrphans } from "./process-tree.ts";

/** A group of two: a shell and what it waits for. */
async function startGroup() {
  const child = spawn("sh", ["-c", "sleep 60 & echo up; wait"], {
    detached: true,
    stdio: ["ignore", "pipe", "ignore"],
  });
  await once(child.stdout, "data");
  const identity = identify(child.pid ?? 0);
  if (identity === null) throw new Error("the shell is gone");
  return { child, identity };
}

test("an orphan's whole group is killed, also when its leader is gone", async () => {
  const { child, identity } = await startGroup();
  expect(groupMembers(identity.pid)).toHaveLength(2);
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(isAlive(identity)).toBe(false);
  expect(groupMembers(identity.pid)).toHaveLength(1);
  expect(await killOrphans([identity])).toHaveLength(1);
  await expect.poll(() => groupMembers(identity.pid)).toEqual([]);
});

test("a later process with a recorded pid is left alone", async () => {
  const { child, identity } = await startGroup();
  expect(await killOrphans([{ ...identity, startedAt: "another time" }])).toEqual([]);
  expect(isAlive(identity)).toBe(true);
  expect(await killOrphans([identity])).toHaveLength(2);
  if (child.signalCode === null) await once(child, "exit");
});
