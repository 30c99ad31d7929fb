/**
 * One supervisor per data directory. The lock names its holder and the process groups it started, so that a later
 * start can take over after a kill -9 and end what was left behind.
 */
import { link, rename, rm, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { readJson, writePrivateJson } from "./private-file.ts";
import { identify, isAlive, killOrphans, ProcessIdentity } from "./process-tree.ts";

const LockFile = z.object({ holder: ProcessIdentity, children: z.array(ProcessIdentity) });
type LockFile = z.infer<typeof LockFile>;

export type StackLock = {
  /** What a takeover found running and killed. */
  orphans: number[];
  /** Records the groups to end should this supervisor be killed. */
  record(childPids: readonly number[]): Promise<void>;
  release(): Promise<void>;
};

export class AlreadyRunning extends Error {
  readonly pid: number;
  constructor(dataDirectory: string, pid: number) {
    super(
      `A stack already runs on ${dataDirectory} (pid ${pid}). Stop it with "npm start -- --stop --data ${dataDirectory}", or start another with --data DIR.`,
    );
    this.name = "AlreadyRunning";
    this.pid = pid;
  }
}

function lockPath(dataDirectory: string): string {
  return join(dataDirectory, "lock.json");
}

function self(): ProcessIdentity {
  const identity = identify(process.pid);
  if (identity === null) throw new Error("cannot read this process's own start time");
  return identity;
}

/** The supervisor that holds the directory, or null. */
export async function findHolder(dataDirectory: string): Promise<ProcessIdentity | null> {
  const lock = await readJson(lockPath(dataDirectory), LockFile);
  return lock !== null && isAlive(lock.holder) ? lock.holder : null;
}

/** Linking a written file is atomic and fails when the name is taken: nobody ever reads a half-written lock. */
async function claim(path: string, lock: LockFile): Promise<boolean> {
  const temporary = `${path}.${process.pid}.new`;
  await writeFile(temporary, JSON.stringify(lock), { mode: 0o600 });
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    await unlink(temporary);
  }
}

export async function takeLock(dataDirectory: string): Promise<StackLock> {
  const path = lockPath(dataDirectory);
  const holder = self();
  let orphans: number[] = [];
  for (;;) {
    if (await claim(path, { holder, children: [] })) break;
    const found = await readJson(path, LockFile);
    if (found === null) continue;
    if (isAlive(found.holder)) throw new AlreadyRunning(dataDirectory, found.holder.pid);
    // Of several that take over at once, one rename succeeds; the others come round and meet the winner.
    const stale = `${path}.${process.pid}.stale`;
    try {
      await rename(path, stale);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") continue;
      throw error;
    }
    const moved = await readJson(stale, LockFile);
    if (moved !== null && isAlive(moved.holder)) {
      // Another start took over between the read and the rename: give its lock back.
      await rename(stale, path);
      throw new AlreadyRunning(dataDirectory, moved.holder.pid);
    }
    await rm(stale, { force: true });
    orphans = await killOrphans(found.children);
  }
  return {
    orphans,
    async record(childPids) {
      const children = childPids.flatMap((pid) => identify(pid) ?? []);
      await writePrivateJson(path, { holder, children } satisfies LockFile);
    },
    async release() {
      await rm(path, { force: true });
    },
  };
}
