/**
 * The folder of a job's sockets, in the system's temporary folder: made for one job, removed at its end, and swept up by
 * the next start when its runner was killed before it could.
 */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A unix socket's path may have 107 bytes. */
const MAX_FOLDER_LENGTH = 70;

const parentFolder = () => (tmpdir().length <= MAX_FOLDER_LENGTH ? tmpdir() : "/tmp");

/** Only its owner may enter it (mkdtemp makes it 0700). Holds sockets and nothing else. */
export async function makeSocketFolder(): Promise<string> {
  return mkdtemp(join(parentFolder(), `encode-${process.pid}-`));
}

/**
 * For a runner's start, before its first job. In a container every run has the same pid: what bears ours is left over too.
 * An encode whose sockets are connected would not even notice the loss of its folder.
 */
export async function removeAbandonedSocketFolders(parent = parentFolder()): Promise<void> {
  for (const name of await readdir(parent)) {
    const pid = /^encode-(\d+)-[A-Za-z0-9]{6}$/.exec(name)?.[1];
    if (pid === undefined || (Number(pid) !== process.pid && isAlive(Number(pid)))) continue;
    // Another user's is not ours to remove, and no reason not to start.
    await rm(join(parent, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
