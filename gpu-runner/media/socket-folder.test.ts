import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeSocketFolder, removeAbandonedSocketFolders } from "./socket-folder.ts";

test("a job's folder admits its owner only", async () => {
  const folder = await makeSocketFolder();
  try {
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a start sweeps up what killed runners left, and nothing else", async () => {
  const parent = await mkdtemp(join(tmpdir(), "sweep-test-"));
  try {
    const dead = spawnSync("true").pid;
    for (const pid of [dead, process.pid]) {
      await mkdir(join(parent, `encode-${pid}-Abc123`));
      await writeFile(join(parent, `encode-${pid}-Abc123`, "360p.sock"), "");
    }
    const kept = [`encode-${process.ppid}-Abc123`, "encode-notes", `encode-${dead}-of-last-year`];
    for (const name of kept) await mkdir(join(parent, name));
    await removeAbandonedSocketFolders(parent);
    expect((await readdir(parent)).sort()).toEqual(kept.sort());
  } finally {
    await rm(parent, { recursive: true });
  }
});
